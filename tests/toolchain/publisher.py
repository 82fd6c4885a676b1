"""A publisher or mirror on loopback that can be told to lie, to be silent, or to break off."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Publisher:
    """``files`` by path; ``hang``: paths that get no answer; ``cut``: paths whose body ends half-way."""

    files: dict[str, bytes] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def publish(self, path: str, content: bytes) -> None:
        """Serves ``content``, and beside it the publisher's checksum file."""
        name = path.rpartition("/")[2]
        self.files[path] = content
        self.files[f"{path}.sha256"] = f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()

    def publish_folder(self, folder: Path) -> None:
        """Serves every file under ``folder``."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.files[f"/{file.relative_to(folder)}"] = file.read_bytes()


@contextmanager
def serving() -> Iterator[Publisher]:
    """A publisher on a free port of loopback."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            publisher.asked.append(self.path)
            if self.path in publisher.hang:
                publisher.closing.wait()
                return
            content = publisher.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: len(content) // 2] if self.path in publisher.cut else content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publisher.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield publisher
    finally:
        publisher.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
