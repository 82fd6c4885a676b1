"""The parts both adapters share: values, diffs, the gRPC server, the process's life."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi_cli import ROOT

from toolchain.plugins.common import diff, server, values
from toolchain.plugins.common.diff import Kind
from toolchain.plugins.common.errors import Cancelled, InitFailed, ProviderError
from toolchain.plugins.common.protos import provider_pb2, provider_pb2_grpc, status_pb2
from toolchain.plugins.common.provider import Cancellation, Operation, Properties, Provider, State
from toolchain.plugins.common.sockets import socket_folder
from toolchain.plugins.common.values import UNKNOWN, Archive, Asset, Secret

URN = "urn:pulumi:dev::project::jarvis:x:Parent$test:index:Thing::a::name"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        "text",
        "",
        [],
        {},
        [1, [None, {"a": "b"}], False],
        UNKNOWN,
        Secret("s"),
        Secret({"a": [Secret(1)]}),
        Asset("h", text=""),
        Asset("h", path="p"),
        Asset("h"),
        Archive("h", assets={"a": Asset("h", text="t")}),
        Archive("h", path="p"),
    ],
    ids=repr,
)
def test_values_survive_the_wire(value: Any) -> None:
    back = values.from_wire(values.to_wire(value))
    assert back == value
    assert type(back) is type(value)


def test_whole_numbers_are_integers() -> None:
    assert isinstance(values.from_wire(values.to_wire(3.0)), int)


def test_output_values_and_resource_references() -> None:
    unknown = {values.SIGNATURE: values.OUTPUT, "secret": True}
    known = {values.SIGNATURE: values.OUTPUT, "value": "v", "secret": True}
    resource = {values.SIGNATURE: values.RESOURCE, "urn": "u", "id": "i"}
    assert [values.from_wire(values.to_wire(item)) for item in (unknown, known, resource)] == [
        Secret(UNKNOWN),
        Secret("v"),
        "i",
    ]


def test_what_is_no_property_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        values.to_wire({"a": object()})


def test_questions_about_values() -> None:
    value = {"a": [Secret({"b": "hidden", "n": 1})], "c": UNKNOWN}
    assert values.reveal(value) == {"a": [{"b": "hidden", "n": 1}], "c": UNKNOWN}
    assert values.has_unknown(value)
    assert values.has_secret(value)
    assert values.secret_texts(value) == {"hidden"}
    assert not values.has_secret({"a": [1]})
    assert not values.has_unknown(Secret({"a": [1]}))
    assert "hidden" not in repr(value)


def test_differences_by_path() -> None:
    old = {"a": 1, "b": {"c": "x", "d.e": 1}, "l": [1, 2], "s": Secret({"k": 1}), "n": None, "t": True}
    new = {"a": 1, "b": {"c": "y", "d.e": 2}, "l": [1, 3, 4], "s": Secret({"k": 2}), "u": UNKNOWN, "t": 1}
    assert diff.compare(old, new) == {
        "b.c": Kind.UPDATE,
        'b["d.e"]': Kind.UPDATE,
        "l[1]": Kind.UPDATE,
        "l[2]": Kind.ADD,
        "s": Kind.UPDATE,
        "t": Kind.UPDATE,
        "u": Kind.ADD,
    }
    assert diff.compare(new, {"a": 1})["b"] == Kind.DELETE
    assert diff.compare({"s": Secret([1]), "f": Asset("h", text="t")}, {"s": [1], "f": Asset("h")}) == {}
    assert diff.compare({"f": Asset("h")}, {"f": Asset("i")}) == {"f": Kind.UPDATE}
    assert diff.names(['b["d.e"]', "b.c", "l[1]", '["x.y"].z']) == ["b", "l", "x.y"]


class Thing(Provider):
    """A provider whose Create does as its input says."""

    name = "test"
    version = "1.2.3"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Operation] = []

    def diff(self, op: Operation) -> diff.Diff:
        return diff.Diff(diff.compare(op.old_inputs, op.news), replaces={"b.c"}, delete_before_replace=True)

    def create(self, op: Operation) -> State:
        self.seen.append(op)
        match op.news["do"]:
            case "fail":
                raise ProviderError("it failed: " + "x" * 100_000 + " at its end")
            case "init":
                raise InitFailed("the-id", {"a": Secret("b")}, ["reason 1", "reason 2"])
            case "cancelled":
                raise Cancelled("cancelled")
            case "defect":
                raise KeyError("the value of a secret")
        return State("the-id", op.news)

    def update(self, op: Operation) -> Properties:
        self.seen.append(op)
        return op.news


@pytest.fixture
def thing() -> Iterator[tuple[Thing, provider_pb2_grpc.ResourceProviderStub]]:
    provider = Thing()
    running, _, port = server.start(provider)
    options = [("grpc.max_metadata_size", 1 << 20), ("grpc.absolute_max_metadata_size", 1 << 20)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield provider, provider_pb2_grpc.ResourceProviderStub(channel)
    running.stop(0)


def create(stub: provider_pb2_grpc.ResourceProviderStub, **news: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Create(provider_pb2.CreateRequest(urn=URN, properties=values.to_struct(news)))
    return caught.value


def test_type_and_name_are_read_from_the_urn(thing: Any) -> None:
    provider, stub = thing
    stub.Create(provider_pb2.CreateRequest(urn=URN, properties=values.to_struct({"do": ""})))
    assert (provider.seen[0].type, provider.seen[0].name) == ("test:index:Thing", "a::name")


def test_errors_keep_within_what_grpc_carries(thing: Any) -> None:
    error = create(thing[1], do="fail")
    assert error.code() == grpc.StatusCode.UNKNOWN
    assert error.details().startswith("it failed: xxx")
    assert error.details().endswith("xxx at its end")
    assert "bytes left out" in error.details()


def test_a_resource_that_is_not_ready_is_kept(thing: Any) -> None:
    error = create(thing[1], do="init")
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert detail.id == "the-id"
    assert list(detail.reasons) == ["reason 1", "reason 2"]
    assert values.from_struct(detail.properties) == {"a": Secret("b")}


def test_a_defect_tells_where_but_no_values(thing: Any) -> None:
    error = create(thing[1], do="defect")
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "KeyError at " in error.details()
    assert "secret" not in error.details()
    assert create(thing[1], do="cancelled").code() == grpc.StatusCode.CANCELLED


def test_a_replacing_difference(thing: Any) -> None:
    request = provider_pb2.DiffRequest(
        urn=URN,
        old_inputs=values.to_struct({"a": 1, "b": {"c": 1, "d": 1}}),
        news=values.to_struct({"a": 2, "b": {"c": 2, "d": 2}}),
    )
    response = thing[1].Diff(request)
    kinds = provider_pb2.PropertyDiff
    assert {path: entry.kind for path, entry in response.detailedDiff.items()} == {
        "a": kinds.UPDATE,
        "b.c": kinds.UPDATE_REPLACE,
        "b.d": kinds.UPDATE,
    }
    assert (list(response.diffs), list(response.replaces)) == (["a", "b"], ["b"])
    assert response.deleteBeforeReplace


def test_cancellation_calls_back_once() -> None:
    cancellation, calls = Cancellation(), []
    with cancellation.calling(lambda: calls.append("over")):
        pass
    with cancellation.calling(lambda: calls.append("now")):
        cancellation.set()
        cancellation.set()
    assert calls == ["now"]
    with pytest.raises(Cancelled), cancellation.calling(lambda: calls.append("late")):
        pytest.fail("entered after a cancellation")
    with pytest.raises(Cancelled):
        cancellation.check()


@pytest.fixture
def plugin() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "toolchain.plugins.command"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_plugin_prints_its_port_and_ends_when_told(
    plugin: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert plugin.stdout is not None
    port = int(plugin.stdout.readline())
    assert 1024 < port < 65536
    plugin.send_signal(number)
    assert plugin.wait(30) == 0


def test_a_plugin_ends_with_its_parent() -> None:
    script = (
        f"import subprocess, sys\nsubprocess.Popen([{sys.executable!r}, '-m', 'toolchain.plugins.command'])\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip().isdigit()
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    descriptor = os.pidfd_open(int(children[0]))
    parent.kill()
    parent.wait()
    try:
        # Readable once the plugin has ended.
        assert select.select([descriptor], [], [], 30)[0] == [descriptor]
    finally:
        os.close(descriptor)


def test_folders_of_killed_processes_go_and_those_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    # The usual one of a test is too long for a socket.
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        killed, alive = base / f"jarvis-x-{ended.pid}-abc", base / f"jarvis-x-{os.getpid()}-abc"
        other = base / f"jarvis-y-{ended.pid}-abc"
        for folder in (killed, alive, other):
            folder.mkdir()
            (folder / "socket").touch()
        made = socket_folder("jarvis-x")
        assert sorted(base.iterdir()) == sorted([alive, other, made])
        assert made.stat().st_mode & 0o777 == 0o700
