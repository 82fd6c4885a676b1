"""The Kubernetes API over the proxy's socket: requests, errors as exceptions, kinds to paths."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Cancellation
from toolchain.plugins.kubernetes.naming import Kind

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_REQUEST_SECONDS = 60.0
# As Kubernetes' own client: so often, and a second after a connection that broke.
_RETRIES = 10
_RESET_SECONDS = 1.0
# What that client takes for a connection that broke (k8s.io/apimachinery, util/net): a GET loses nothing by
# being sent again. "connection refused" is not among them: there nobody listens.
_BROKEN = re.compile(
    r"connection reset by peer|\bEOF\Z|use of closed network connection|server sent GOAWAY", re.IGNORECASE
)
_BUSY = {
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
}


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: HTTP status. reason: the API's word for it ("NotFound"). details: of the Status object.
    """

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status, self.reason, self.details = status, reason, details


class Unreachable(ProviderError):
    """No API server answered, or not to the end."""


class KindMissing(ProviderError):
    """The cluster has no such kind."""


class Transport(Protocol):
    """Sends one request; the answer's status, headers and body."""

    def __call__(
        self, method: str, path: str, body: bytes | None, content_type: str, accept: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Raises OSError or http.client.HTTPException when no answer came."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class SocketTransport:
    """Requests over a unix socket, connections kept for the next request.

    Args:
        path: answers where the socket is now.
    """

    def __init__(self, path: Callable[[], str]) -> None:
        self._path = path
        self._idle: queue.LifoQueue[tuple[str, _Connection]] = queue.LifoQueue()

    def __call__(
        self, method: str, path: str, body: bytes | None, content_type: str, accept: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        where = self._path()
        connection = self._take(where, seconds)
        headers = {"Accept": accept} | ({"Content-Type": content_type} if body is not None else {})
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.status, dict(response.getheaders()), response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.put((where, connection))
        return answer

    def _take(self, where: str, seconds: float) -> _Connection:
        with contextlib.suppress(queue.Empty):
            while True:
                path, connection = self._idle.get_nowait()
                if path == where and connection.sock is not None:
                    connection.sock.settimeout(seconds)
                    return connection
                connection.close()
        return _Connection(where, seconds)


class Client:
    """The cluster's API.

    Args:
        transport: how requests travel.
        cancellation: stops the waiting between tries.
        server: the API server's URL, for error messages.
    """

    def __init__(self, transport: Transport, cancellation: Cancellation, server: str = "") -> None:
        self._transport = transport
        self._cancellation = cancellation
        self._server = server
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: Object | list[Object] | None = None,
        *,
        content_type: str = _JSON,
        warn: Callable[[str], None] | None = None,
        seconds: float = _REQUEST_SECONDS,
        query: Mapping[str, str] | None = None,
        text: bool = False,
        accept: str = _JSON,
    ) -> Any:
        """One request; the decoded answer: an object, or with `text` the answer as it is.

        It is sent again where Kubernetes' own client does so, and nowhere else: when the server names a time
        for it (Retry-After), and a GET whose connection broke. A change whose connection broke may have been
        made or not; that is for the operator to know.

        Args:
            body: sent as JSON (which is YAML too).
            warn: is told of the server's warnings.

        Raises:
            ApiError: the server's refusal.
            Unreachable: no server answered.
            Cancelled: the engine cancelled between tries.
        """
        url = path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        for left in reversed(range(_RETRIES + 1)):
            try:
                status, headers, raw = self._transport(method, url, data, content_type, accept, seconds)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(method, url, str(error) or type(error).__name__) from None
            if warn is not None and (warning := headers.get("Warning")):
                warn(_warning_text(warning))
            if status < 400:
                return raw.decode(errors="replace") if text else _decoded(raw)
            failure = self._failure(method, url, status, raw)
            wait = _wait(method, status, headers, failure)
            if wait is None or not left:
                raise failure
            self.pause(wait)
        raise AssertionError("the loop ends by returning or raising")

    def _failure(self, method: str, url: str, status: int, raw: bytes) -> Exception:
        """The exception for an answer with an error status."""
        answer = _decoded(raw)
        if isinstance(answer, dict) and answer.get("kind") == "Status":
            message = str(answer.get("message") or answer.get("reason") or f"status {status}")
            return ApiError(status, str(answer.get("reason", "")), message, answer.get("details") or {})
        text = str(answer).strip()[:500]
        if status in (500, 502):
            # Not the API's form of an error: kubectl proxy's own, when it reaches no server.
            return self._unreachable(method, url, text)
        return ApiError(status, "", _BUSY.get(status) or text or f"status {status}", {})

    def _unreachable(self, method: str, url: str, why: str) -> Unreachable:
        return Unreachable(f'{method.capitalize()} "{self._server}{url}": {why}')

    def pause(self, seconds: float) -> None:
        """Sleep between two tries. Raises Cancelled when the engine cancelled."""
        self._cancellation.wait(seconds)
        self._cancellation.check()

    def path(self, kind: Kind, namespace: str, name: str = "") -> str:
        """The path of an object, or of all of the kind.

        Raises:
            KindMissing: the cluster does not know the kind.
            Unreachable, ApiError: as `request`.
        """
        resource, namespaced = self._find(kind)
        parts = [_root(kind.api_version)]
        if namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(resource)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)

    def namespaced(self, kind: Kind) -> bool:
        """Whether the kind's objects live in namespaces. Raises as `path`."""
        return self._find(kind)[1] if kind.namespaced is None else kind.namespaced

    def _find(self, kind: Kind) -> tuple[str, bool]:
        with self._lock:
            known = self._kinds.get(kind.api_version, {})
        if kind.kind not in known:
            try:
                listed = self.request("GET", _root(kind.api_version))
            except ApiError as error:
                if error.status != 404:
                    raise
                listed = {}
            known = {
                entry["kind"]: (entry["name"], bool(entry["namespaced"]))
                for entry in listed.get("resources", [])
                if "/" not in entry["name"]
            }
            with self._lock:
                self._kinds[kind.api_version] = known
        if kind.kind not in known:
            raise KindMissing(
                f"the cluster has no kind {kind}: create its CustomResourceDefinition first (depends_on)"
            )
        return known[kind.kind]


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def _wait(method: str, status: int, headers: Mapping[str, str], failure: Exception) -> float | None:
    """Seconds until the request may be sent again; None: it is not."""
    if isinstance(failure, Unreachable):
        return _RESET_SECONDS if method == "GET" and _BROKEN.search(str(failure)) else None
    after = headers.get("Retry-After", "")
    return float(after) if (status == 429 or status >= 500) and after.isdecimal() else None


def _warning_text(header: str) -> str:
    # 299 - "text"
    return header.split(" ", 2)[-1].strip('"')
