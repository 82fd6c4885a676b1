"""The outermost WSGI layer: whatever an application does, its client gets one answer, with an id."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from images.parts import SHARED
from images.recipe import RECIPES

ID = "req-01234567-89ab-cdef-0123-456789abcdef"
GIVEN = "req-fedcba98-7654-3210-fedc-ba9876543210"


@pytest.fixture
def answering() -> ModuleType:
    spec = importlib.util.spec_from_file_location("answering", RECIPES / SHARED / "answering.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(application: Any, **environ: Any) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer, read as PEP 3333 asks of a server, and so validated."""
    head: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        assert not head, "two answers"
        head.extend((status, headers))
        return written.append

    setup_testing_defaults(environ)
    environ.setdefault("QUERY_STRING", "")
    answer: Iterable[bytes] = validator(application)(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()  # type: ignore[attr-defined]
    return (
        int(head[0].split(" ")[0]),
        {name.lower(): text for name, text in head[1]},
        b"".join(written) + body,
    )


class Closing:
    """A body that notes that it was closed, and raises at the part that is an exception."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts, self.closed = iter(parts), 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self.parts)
        if isinstance(part, Exception):
            raise part
        return part

    def close(self) -> None:
        self.closed += 1


def answers(status: str, body: Iterable[bytes]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain"), ("X-Openstack-Request-Id", ID)])
        return body

    return application


def fails(error: Exception) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["openstack.request_id"] = ID
        raise error

    return application


def test_an_answer_passes_as_it_is(answering: ModuleType) -> None:
    body = Closing(b"a", b"b")
    status, headers, text = ask(answering.Answering(answers("200 OK", body)))
    assert (status, text, body.closed) == (200, b"ab", 1)
    assert headers == {"content-type": "text/plain", "x-openstack-request-id": ID}


@pytest.mark.parametrize(
    "error", [ValueError("x"), RecursionError(), UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "x")]
)
def test_what_a_service_did_not_catch_becomes_its_json_500(
    answering: ModuleType, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with caplog.at_level(logging.ERROR):
        status, headers, text = ask(answering.Answering(fails(error)), HTTP_X_OPENSTACK_REQUEST_ID=GIVEN)
    assert status == 500
    assert headers["content-type"] == "application/json"
    told = json.loads(text)["error"]
    assert (told["code"], told["title"]) == (500, "Internal Server Error")
    # The service's own id, as in its other answers; the client's is beside it in the log's context.
    assert told["request_id"] == headers["x-openstack-request-id"] == ID
    [line] = caplog.records
    assert ID in line.getMessage()
    assert line.exc_info is not None
    assert line.exc_info[1] is error


def test_a_request_that_no_layer_gave_an_id_has_the_clients_or_a_new_one(answering: ModuleType) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ValueError

    given = ask(answering.Answering(application), HTTP_X_OPENSTACK_REQUEST_ID=GIVEN)[1]
    assert given["x-openstack-request-id"] == GIVEN
    new = ask(answering.Answering(application), HTTP_X_OPENSTACK_REQUEST_ID='"}\n')[1]
    assert answering._FORM.fullmatch(new["x-openstack-request-id"])


def test_an_error_before_the_first_byte_is_answered_and_one_after_it_breaks_off(
    answering: ModuleType,
) -> None:
    body = Closing(ValueError("x"))
    assert ask(answering.Answering(answers("200 OK", body)))[0] == 500
    assert body.closed == 1
    with pytest.raises(ValueError, match="x"):
        ask(answering.Answering(answers("200 OK", Closing(b"a", ValueError("x")))))


def test_the_older_way_to_write_passes(answering: ModuleType) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"a")
        write(b"b")
        return [b"c"]

    assert ask(answering.Answering(application))[2] == b"abc"


def test_a_head_request_has_no_body(answering: ModuleType) -> None:
    status, headers, text = ask(answering.Answering(fails(ValueError())), REQUEST_METHOD="HEAD")
    assert (status, text) == (500, b"")
    assert int(headers["content-length"]) > 0


@pytest.fixture
def database(answering: ModuleType, monkeypatch: pytest.MonkeyPatch) -> type[Exception]:
    """oslo.db's exception for a database that cannot be reached."""
    lost = type("DBConnectionError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "oslo_db.exception", SimpleNamespace(DBConnectionError=lost))  # type: ignore[arg-type]
    answering.watch_database()
    return lost


def test_without_the_database_a_client_is_told_to_come_back(
    answering: ModuleType, database: type[Exception]
) -> None:
    def caught(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As Glance does."""
        database("gone")
        return answers("500 Internal Server Error", body)(environ, start_response)

    body = Closing(b"failed")
    for application in (fails(database("gone")), caught):
        status, headers, text = ask(answering.Answering(raising(application, database)))
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert json.loads(text)["error"]["request_id"] == headers["x-openstack-request-id"] == ID
    assert body.closed == 1


def raising(
    application: Callable[..., Iterable[bytes]], error: type[Exception]
) -> Callable[..., Iterable[bytes]]:
    """``application``, in a request that loses the database."""

    def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        error("gone")
        return application(environ, start_response)

    return outer


def test_a_loss_that_was_made_up_for_is_none_and_the_next_request_knows_nothing_of_it(
    answering: ModuleType, database: type[Exception]
) -> None:
    layer = answering.Answering(raising(answers("200 OK", [b"a"]), database))
    assert ask(layer)[0] == 200
    assert ask(answering.Answering(fails(ValueError())))[0] == 500


def test_a_503_of_the_services_own_says_when_to_come_back_too(answering: ModuleType) -> None:
    status, headers, text = ask(answering.Answering(answers("503 Service Unavailable", [b"busy"])))
    assert (status, text) == (503, b"busy")
    assert int(headers["retry-after"]) > 0


def test_uwsgi_is_asked_for_the_application(answering: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    service: Any = SimpleNamespace(inner=answers("200 OK", [b"a"]))
    monkeypatch.setitem(sys.modules, "service", service)
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt={"application": b"service:inner"}))  # type: ignore[arg-type]
    environ = {"wsgi.input": io.BytesIO()}
    assert ask(answering.application(), **environ)[0] == 200
