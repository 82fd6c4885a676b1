"""As much of Keystone's and Glance's APIs as declared objects ask for, in memory; and both by HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from tests.unit.fake_keystone import FakeKeystone


def refused(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("https://x/v3/projects", status, "no", Message(), io.BytesIO(b"why"))


class Keystone(FakeKeystone):
    """As Keystone's registration needs it, and assignments that can be read and taken."""

    def __init__(self) -> None:
        super().__init__()
        self.passwords = {"admin": "s3cret"}
        self.items["domains"] = [{"id": "default", "name": "Default"}, {"id": "d2", "name": "Sales"}]
        self.items["roles"] = [{"id": name, "name": name} for name in ("member", "reader", "admin")]
        self.items["users"] = [{"id": "u1", "name": "alice", "domain_id": "d2"}]
        # Statuses of requests to come.
        self.failures: list[int] = []

    def ask(self, method: str, path: str, body: Any = None) -> tuple[Any, Any]:
        """Raises ``HTTPError`` where the answer is an error."""
        if self.failures and path != "/auth/tokens":
            raise refused(self.failures.pop())
        if method == "HEAD":
            if path not in self.grants:
                raise refused(404)
            return {}, None
        if method == "DELETE" and "/roles/" in path:
            self.grants.remove(path)
            return {}, None
        return self.call(method, path, body)


class Glance:
    """Images by id; ``uploads``: how many bytes each upload had."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.uploads: list[int] = []
        self._made = 0

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        path, _, query = path.removeprefix("/v2/images").partition("?")
        if method == "POST":
            self._made += 1
            made = {
                "id": f"i{self._made}",
                "status": "queued",
                "protected": False,
                "os_hidden": False,
                **body,
            }
            self.images[made["id"]] = made
            return made
        if not path:
            wanted = dict(parse_qsl(query))
            hidden = wanted.pop("os_hidden") == "true"
            assert wanted.pop("visibility") == "all"
            return {
                "images": [
                    one
                    for one in self.images.values()
                    if one["os_hidden"] is hidden and wanted.items() <= one.items()
                ]
            }
        image = self.images[path.strip("/").partition("/")[0]]
        if method == "PUT":
            self.uploads.append(len(body))
            image |= {"status": "active", "size": len(body), "os_hash_algo": "sha512"}
            image["os_hash_value"] = hashlib.sha512(body).hexdigest()
        elif method == "PATCH":
            for change in body:
                name = change["path"].removeprefix("/")
                if change["op"] == "remove":
                    del image[name]
                else:
                    assert (change["op"] == "replace") is (name in image)
                    image[name] = change["value"]
        elif method == "DELETE":
            if image["protected"]:
                raise refused(403)
            del self.images[image["id"]]
            return {}
        return image


@contextmanager
def served(keystone: Keystone, glance: Glance) -> Iterator[str]:
    """Both by HTTP; the URL, below which Keystone is ``/v3``."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            text = self.rfile.read(size)
            body = json.loads(text) if "json" in self.headers.get("Content-Type", "") and text else text
            headers = None
            status = 201 if self.command == "POST" else 200
            answer: Any = {}
            try:
                if self.path.startswith("/v3"):
                    answer, headers = keystone.ask(self.command, self.path.removeprefix("/v3"), body or None)
                else:
                    assert self.headers["X-Auth-Token"] == "token"
                    answer = glance.ask(self.command, self.path, body)
            except urllib.error.HTTPError as error:
                status = error.code
            said = b"" if self.command == "HEAD" else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
