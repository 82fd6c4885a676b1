"""A client of the API that asks again and again, as the administrator of a kubeconfig."""

from __future__ import annotations

import base64
import http.client
import ssl
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import yaml

# Between two requests. A gap of a second or two, as by a missed holder, would cut off several.
PAUSE_SECONDS = 0.1
# A client gives one up after so long.
PATIENCE_SECONDS = 5


class Asking:
    """Asks the API at the address of ``kubeconfig``, each time by a connection of its own, until it is left.

    ``answered``: how many were. ``problems``: what was wrong with the others.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        trust = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=trust)
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            self._context.load_cert_chain(file.name)
        parts = urlsplit(cluster["server"])
        self._address, self._port = str(parts.hostname), parts.port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.answered = 0
        self.problems: list[str] = []

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            connection = http.client.HTTPSConnection(
                self._address, self._port, context=self._context, timeout=PATIENCE_SECONDS
            )
            try:
                connection.request("GET", "/api/v1/namespaces")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.client.OK:
                    self.answered += 1
                else:
                    self.problems.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(str(error) or type(error).__name__)
            finally:
                connection.close()
