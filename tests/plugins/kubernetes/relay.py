"""A relay in front of an API server that can be closed, and that cuts a request or answers it by itself."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "host"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A cut connection is no news."""


class Relay:
    """Terminates TLS, so that it knows one request from another; speaks HTTP/1.1 to both sides.

    Args:
        upstream: the API server's port on 127.0.0.1.
        certificate, key: files; clients of the tests check no certificate.

    Attributes:
        port: where it listens, or will.
        seen: the method of every request about the object `name`, in order, those that were cut included.
        reset: methods whose next request gets a reset once it has arrived whole.
        answers: method to (status, headers) that its next request gets instead of the API server's answer.
    """

    def __init__(self, upstream: int, certificate: Path, key: Path) -> None:
        self._upstream, self._certificate, self._key = upstream, certificate, key
        self._server: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.name = "made"
        self.seen: list[str] = []
        self.reset: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str]]] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the block runs, the relay listens."""
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, ValueError):
                    self.close_connection = True

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return lambda: relay._relay(self)
                raise AttributeError(name)

            def log_message(self, *_: Any) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _relay(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.headers.get("Transfer-Encoding") == "chunked":
            body = _chunks(handler)
        method = handler.command
        path, _, query = handler.path.partition("?")
        with self._lock:
            cut, own = False, None
            if "/namespaces/" in path and (method != "GET" or path.endswith(f"/{self.name}")):
                self.seen.append(method)
                cut, own = method in self.reset, self.answers.pop(method, None)
            if cut:
                self.reset.remove(method)
        if cut:
            # Closing with a linger of zero sends a reset instead of an orderly end.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(handler.connection.detach())
            raise OSError("cut")
        if own is not None:
            _answer(handler, own[0], own[1], b"busy")
            return
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._upstream, context=ssl._create_unverified_context(), timeout=60
        )
        headers = {key: value for key, value in handler.headers.items() if key.lower() not in _HOP}
        try:
            connection.request(method, handler.path, body or None, headers)
            response = connection.getresponse()
            kept = {key: value for key, value in response.getheaders() if key.lower() not in _HOP}
            if "watch=" in query:
                _stream(handler, response, kept)
            else:
                _answer(handler, response.status, kept, response.read())
        finally:
            connection.close()


def _chunks(handler: BaseHTTPRequestHandler) -> bytes:
    body = b""
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _stream(
    handler: BaseHTTPRequestHandler, response: http.client.HTTPResponse, headers: dict[str, str]
) -> None:
    """Pass on events as they come, until either side ends it."""
    handler.send_response_only(response.status)
    for key, value in {**headers, "Connection": "close"}.items():
        handler.send_header(key, value)
    handler.end_headers()
    while part := response.read1():
        handler.wfile.write(part)
        handler.wfile.flush()
    handler.close_connection = True


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response_only(status)
    for key, value in {**headers, "Content-Length": str(len(body))}.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(body)
