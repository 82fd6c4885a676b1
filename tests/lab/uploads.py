"""Clients that upload images slowly, for as long as a test wants them to."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus

from deployment import Cloud

# Of one client, a second: slow, as users' lines are.
PIECE_BYTES, PAUSE_SECONDS = 64 * 1024, 0.2
# What is under way of a body must have an answer after its last piece within so long.
PATIENCE_SECONDS = 120.0


class Upload:
    """One image, sent through the gateway in pieces until ``end`` is set.

    ``status`` of the answer, and the checksum of what was sent; ``problem`` where there is none.
    """

    def __init__(self, cloud: Cloud, token: str, end: threading.Event) -> None:
        self._address, self._token, self._end = cloud.virtual_address, token, end
        self._tls = ssl.create_default_context(cafile=str(cloud.authority))
        self._sum = hashlib.sha512()
        self.sent = 0
        self.status: int | None = None
        self.problem = ""
        head = {"Content-Type": "application/json"}
        body = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
        answer, text = self._ask("POST", "/image/v2/images", head, body)
        assert answer == HTTPStatus.CREATED, (answer, text)
        self.image = str(json.loads(text)["id"])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _ask(self, method: str, path: str, headers: dict[str, str], body: object) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._address, timeout=PATIENCE_SECONDS, context=self._tls)
        try:
            chunked = not isinstance(body, bytes)
            connection.request(
                method,
                path,
                body=body,  # type: ignore[arg-type]  # bytes, or pieces of them
                headers={"X-Auth-Token": self._token, **headers},
                encode_chunked=chunked,
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _pieces(self) -> Iterator[bytes]:
        while True:
            piece = os.urandom(PIECE_BYTES)
            self._sum.update(piece)
            self.sent += len(piece)
            yield piece
            if self._end.wait(PAUSE_SECONDS):
                return

    def _run(self) -> None:
        head = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        try:
            self.status, _ = self._ask("PUT", f"/image/v2/images/{self.image}/file", head, self._pieces())
        except (OSError, http.client.HTTPException) as error:
            self.problem = f"{type(error).__name__}: {error}"

    @property
    def under_way(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> str:
        """Until it has ended; the checksum of what was sent."""
        self._thread.join()
        return self._sum.hexdigest()
