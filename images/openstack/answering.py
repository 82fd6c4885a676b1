"""The outermost WSGI layer of every service: its client gets an answer, whatever becomes of the request.

uWSGI closes a connection without a word when an application raises, and Keystone lets every exception
through that is not one of its own (``PROPAGATE_EXCEPTIONS`` of Flask). This layer turns it into a JSON error
with the request's id, and writes the traceback to the service's log under the same id.

It also tells trouble that passes by from trouble of the request: where the service failed because the
database could not be reached, the answer is 503 with ``Retry-After``, and not 500.

uWSGI loads ``answering:application()``; its placeholder ``application`` names the service's own, as
``module:attribute`` (``--set-placeholder=application=keystone.wsgi.api:application``).
"""

from __future__ import annotations

import importlib
import itertools
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

# Seconds after which a client may ask again: Galera settles within ten, see docs/reliability.md.
RETRY_AFTER = 5
# Where oslo.middleware keeps the id that it made for a request, and the header in which one comes and goes.
_ID, _HEADER = "openstack.request_id", "X-Openstack-Request-Id"
_FORM = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MESSAGES = {
    HTTPStatus.INTERNAL_SERVER_ERROR: "An unexpected error kept the server from fulfilling your request.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database cannot be reached at the moment. Try again.",
}

_log = logging.getLogger(__name__)
# Whether the request of this thread has lost the database.
_lost = threading.local()

Headers = list[tuple[str, str]]
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Answering:
    """The WSGI application ``application``, with an answer to each request."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _lost.at = None
        head: list[Any] = []
        writer: Callable[[bytes], None] | None = None

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
            if writer is not None and exc_info:
                raise exc_info[1].with_traceback(exc_info[2])
            head[:] = [status, headers]
            return write

        def begin() -> Callable[[bytes], None]:
            nonlocal writer
            writer = writer or start_response(*with_retry_after(*head)) or write
            return writer

        def write(data: bytes) -> None:
            # The older way to answer, which no service here takes, and WSGI (PEP 3333) asks for.
            begin()(data)

        answer: Iterable[bytes] = ()
        try:
            answer = self._application(environ, start)
            rest = iter(answer)
            # The head is due with the first bytes: until then there may be another answer.
            first = next(rest, b"")
        except Exception as error:
            close(answer)
            if writer is not None:
                raise
            return own_answer(environ, start_response, error)
        if writer is not None:
            return Body(answer, first, rest)
        if _lost.at is not None and head[0].startswith("500"):
            close(answer)
            return own_answer(environ, start_response, _lost.at, dict(head[1]))
        begin()
        return Body(answer, first, rest)


class Body:
    """What an application answers: ``first``, which is taken already, and the ``rest`` of its parts."""

    def __init__(self, answer: Iterable[bytes], first: bytes, rest: Iterator[bytes]) -> None:
        self._answer, self._parts = answer, itertools.chain((first,), rest)

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        close(self._answer)


def close(answer: Iterable[bytes]) -> None:
    """Closes what an application answered, as its server has to."""
    ending = getattr(answer, "close", None)
    if ending is not None:
        ending()


def with_retry_after(status: str, headers: Headers) -> tuple[str, Headers]:
    """The head of an answer; one of 503 says when to ask again."""
    if status.startswith("503") and not any(name.lower() == "retry-after" for name, _ in headers):
        return status, [*headers, ("Retry-After", str(RETRY_AFTER))]
    return status, headers


def own_answer(
    environ: dict[str, Any],
    start_response: Callable[..., Any],
    error: BaseException,
    headers: dict[str, str] | None = None,
) -> list[bytes]:
    """The answer to a request that ended with ``error``: JSON, with the request's id.

    ``headers``: of the answer that the service had."""
    given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
    given = given if _FORM.fullmatch(given) else ""
    named = {name.lower(): text for name, text in (headers or {}).items()}.get(_HEADER.lower())
    own = named or environ.get(_ID) or given or f"req-{uuid.uuid4()}"
    lost = _lost.at is not None
    status = HTTPStatus.SERVICE_UNAVAILABLE if lost else HTTPStatus.INTERNAL_SERVER_ERROR
    _tell(environ, error, own, given, lost)
    body = json.dumps(
        {
            "error": {
                "code": int(status),
                "title": status.phrase,
                "message": _MESSAGES[status],
                "request_id": own,
            }
        }
    ).encode()
    start_response(
        *with_retry_after(
            f"{int(status)} {status.phrase}",
            [("Content-Type", "application/json"), ("Content-Length", str(len(body))), (_HEADER, own)],
        )
    )
    return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def _tell(environ: dict[str, Any], error: BaseException, own: str, given: str, lost: bool) -> None:
    """Writes one line to the service's log, in the context of this very request and no former one."""
    try:
        context = importlib.import_module("oslo_context.context")
        context.RequestContext(request_id=own, global_request_id=given or None)
    except ImportError:
        pass
    what = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')!a}"
    if lost:
        _log.error("%s: the database cannot be reached: %s (%s)", what, type(error).__name__, own)
    else:
        _log.error("%s: the service failed (%s)", what, own, exc_info=error)


def watch_database() -> None:
    """From now on each request knows whether it lost the database.

    oslo.db has one exception for that. A service may catch it, and answer as though it had failed itself."""
    try:
        lost = importlib.import_module("oslo_db.exception").DBConnectionError
    except ImportError:
        return
    before = lost.__init__

    def noted(self: BaseException, *args: Any, **named: Any) -> None:
        before(self, *args, **named)
        _lost.at = self

    lost.__init__ = noted


def load(name: str) -> Application:
    """The application ``module:attribute``."""
    module, _, attribute = name.partition(":")
    found: Application = getattr(importlib.import_module(module), attribute)
    return found


def application() -> Application:
    """The service's own application, which uWSGI's placeholder names, and this layer around it."""
    named: bytes = importlib.import_module("uwsgi").opt["application"]
    watch_database()
    return Answering(load(named.decode()))
