"""The Kubernetes API over the proxy's socket: requests, errors as exceptions, kinds to paths."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
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
# An API server that fails over, or a leader election of etcd, takes seconds; the work waits this long in all.
_RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
_TRANSIENT = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        status: HTTP status. reason: the API's word for it ("NotFound"). details: of the Status object.
    """

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status, self.reason, self.details = status, reason, details

    @property
    def field_conflict(self) -> bool:
        """Whether another field manager owns a field the apply wants to set."""
        causes = self.details.get("causes") or []
        return self.status == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in causes)


class Unreachable(ProviderError):
    """No API server answered."""


class KindMissing(ProviderError):
    """The cluster has no such kind."""


class Transport(Protocol):
    """Sends one request; the answer's status, headers and body."""

    def __call__(
        self, method: str, path: str, body: bytes | None, content_type: str, seconds: float
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
        self, method: str, path: str, body: bytes | None, content_type: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        where = self._path()
        connection = self._take(where, seconds)
        headers = {"Accept": _JSON} | ({"Content-Type": content_type} if body is not None else {})
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
    """

    def __init__(self, transport: Transport, cancellation: Cancellation) -> None:
        self._transport = transport
        self._cancellation = cancellation
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content_type: str = _JSON,
        warn: Callable[[str], None] | None = None,
        retry: bool = True,
        seconds: float = _REQUEST_SECONDS,
        query: Mapping[str, str] | None = None,
        text: bool = False,
    ) -> Any:
        """One request; the decoded answer: an object, or with `text` the answer as it is.

        Args:
            body: sent as JSON (which is YAML too).
            warn: is told of the server's warnings.
            retry: try again when the server is away or busy. All requests made here can be repeated.

        Raises:
            ApiError: the server's refusal.
            Unreachable: no server answered.
            Cancelled: the engine cancelled between tries.
        """
        url = path + ("?" + urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        delays = list(_RETRY_DELAYS) if retry else []
        while True:
            try:
                status, headers, raw = self._transport(method, url, data, content_type, seconds)
            except (OSError, http.client.HTTPException) as error:
                failure: Exception = Unreachable(f"the Kubernetes API does not answer: {error}")
            else:
                if warn is not None and (warning := headers.get("Warning")):
                    warn(_warning_text(warning))
                if status < 400:
                    return raw.decode(errors="replace") if text else _decoded(raw)
                failure = _error(status, raw)
                if not _worth_retrying(failure):
                    raise failure
            if not delays:
                raise failure
            self.pause(delays.pop(0))

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


def _error(status: int, raw: bytes) -> Exception:
    """The exception for an answer with an error status."""
    answer = _decoded(raw)
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        message = str(answer.get("message") or answer.get("reason") or f"status {status}")
        return ApiError(status, str(answer.get("reason", "")), message, answer.get("details") or {})
    text = str(answer).strip()[:500]
    if status in (500, 502):
        # Not the API's form of an error: kubectl proxy's own, when it reaches no server.
        return Unreachable(f"the Kubernetes API does not answer: {text}")
    return ApiError(status, "", text or f"status {status}", {})


def _worth_retrying(failure: Exception) -> bool:
    if isinstance(failure, Unreachable):
        return True
    if not isinstance(failure, ApiError):
        return False
    # A namespace's default service account comes a moment after the namespace.
    missing_account = (
        failure.status == 403 and "serviceaccount" in str(failure) and "not found" in str(failure)
    )
    stale = failure.status == 409 and "the object has been modified" in str(failure)
    return failure.status in _TRANSIENT or missing_account or stale


def _warning_text(header: str) -> str:
    # 299 - "text"
    return header.split(" ", 2)[-1].strip('"')
