"""Downloads that give up in seconds: a connect timeout, a stall timeout, and a memory for dead hosts."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import urllib.error
import urllib.request
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolchain.errors import SourceError
from toolchain.store import sha256

_CHUNK = 1 << 20


class _Host:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answers = False
        self.dead = ""


class Fetcher:
    """Fetches over HTTP, HTTPS and from ``file:`` addresses. For use by several threads.

    ``connect`` and ``stall`` are seconds: to wait for a connection and
    the beginning of an answer, and for the next bytes of one. A host
    that was found unreachable once is not waited for again.
    """

    def __init__(self, connect: float = 3.0, stall: float = 10.0) -> None:
        self._hosts: dict[str, _Host] = {}
        self._guard = threading.Lock()
        self._opener = urllib.request.build_opener(
            _Handler(connect, stall, http.client.HTTPConnection),
            _SecureHandler(connect, stall, http.client.HTTPSConnection),
        )

    def get(self, url: str, target: Path) -> None:
        """Fetches ``url`` into the file ``target``, complete or not at all.

        Raises ``SourceError`` naming the address and why not.
        """
        part = target.with_name(target.name + ".part")
        host = self._host(urlsplit(url).netloc)
        try:
            with nullcontext() if host.answers else host.lock:
                if host.dead:
                    raise SourceError(host.dead)
                response = self._opener.open(url)
                host.answers = True
            with response, part.open("wb") as stream:
                length, size = response.headers.get("Content-Length"), 0
                while block := response.read(_CHUNK):
                    size += len(block)
                    stream.write(block)
            if length is not None and int(length) != size:
                raise SourceError(f"{url}: the connection ended after {size} of {length} bytes")
            part.replace(target)
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(host, url, error) from None
        finally:
            part.unlink(missing_ok=True)

    def ask(self, url: str) -> None:
        """Asks whether ``url`` can be fetched, without fetching it. Raises ``SourceError`` when not."""
        host = self._host(urlsplit(url).netloc)
        try:
            with nullcontext() if host.answers else host.lock:
                if host.dead:
                    raise SourceError(host.dead)
                self._opener.open(urllib.request.Request(url, method="HEAD")).close()
                host.answers = True
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(host, url, error) from None

    @staticmethod
    def _failure(host: _Host, url: str, error: Exception) -> SourceError:
        if isinstance(error, urllib.error.HTTPError):
            # The host answered, only not with this file.
            host.answers = True
            error.close()
            return SourceError(f"{url}: HTTP {error.code} {error.reason}")
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or str(reason) or repr(reason)
        if isinstance(reason, TimeoutError):
            text = "no answer in time"
        if host.answers:
            return SourceError(f"{url}: {text}")
        host.dead = f"{urlsplit(url).netloc or url} cannot be reached ({text})"
        return SourceError(host.dead)

    def _host(self, name: str) -> _Host:
        with self._guard:
            return self._hosts.setdefault(name, _Host())


def expected_sum(text: str, name: str) -> str | None:
    """The sha256 that a publisher's checksum file gives for the file ``name``.

    Known forms: ``digest  name`` or ``digest *name`` a line, and a lone digest.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1 and _is_sum(lines[0][0]):
        return lines[0][0].lower()
    for words in lines:
        if len(words) == 2 and _is_sum(words[0]) and words[1].lstrip("*").removeprefix("./") == name:
            return words[0].lower()
    return None


def check(file: Path, expected: str, what: str) -> None:
    """Raises ``SourceError`` unless the sha256 of ``file`` is ``expected``."""
    found = sha256(file)
    if found != expected:
        raise SourceError(f"{what} is corrupt: sha256 {found} instead of {expected}")


def _is_sum(word: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{64}", word) is not None


def _connection(
    kind: type[http.client.HTTPConnection], connect: float, stall: float, *a: Any, **k: Any
) -> http.client.HTTPConnection:
    """A connection with one timeout until the answer begins and another for the rest of it."""
    made = kind(*a, **{**k, "timeout": connect})
    plain_connect, plain_response = made.connect, made.getresponse

    def connecting() -> None:
        # The resolver has no timeout of its own, and without a network it may take half a minute.
        asking = threading.Thread(target=_resolve, args=(made.host, made.port), daemon=True)
        asking.start()
        asking.join(connect)
        if asking.is_alive():
            raise TimeoutError
        plain_connect()

    def responding() -> http.client.HTTPResponse:
        socket_of = made.sock
        response = plain_response()
        socket_of.settimeout(stall)
        return response

    made.connect, made.getresponse = connecting, responding  # type: ignore[method-assign]
    return made


def _resolve(host: str, port: int) -> None:
    # An answer is only waited for here; connecting asks again and reports what is wrong.
    with suppress(OSError):
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class _Handler(urllib.request.HTTPHandler):
    def __init__(self, connect: float, stall: float, kind: type[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._make = partial(_connection, kind, connect, stall)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._make, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, connect: float, stall: float, kind: type[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._make = partial(_connection, kind, connect, stall)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._make, req)
