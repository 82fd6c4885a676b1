"""The adapter's answers, held against the recorded ones of the official plugin, over real gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from toolchain.plugins.command import local, provider, remote, transfer
from toolchain.plugins.command.output import Capture
from toolchain.plugins.common import server
from toolchain.plugins.common.protos import empty_pb2, provider_pb2, provider_pb2_grpc
from toolchain.plugins.common.values import from_struct, has_unknown, reveal

RECORDS = [
    json.loads(line)
    for line in (Path(__file__).parent / "recordings" / "command.jsonl").read_text().splitlines()
]
REQUESTS = {
    "Handshake": provider_pb2.ProviderHandshakeRequest,
    "GetPluginInfo": empty_pb2.Empty,
    "CheckConfig": provider_pb2.CheckRequest,
    "DiffConfig": provider_pb2.DiffRequest,
    "Configure": provider_pb2.ConfigureRequest,
    "Check": provider_pb2.CheckRequest,
    "Diff": provider_pb2.DiffRequest,
    "Create": provider_pb2.CreateRequest,
    "Update": provider_pb2.UpdateRequest,
    "Read": provider_pb2.ReadRequest,
    "Delete": provider_pb2.DeleteRequest,
}


class Doubles:
    """Stands where commands and copies leave the adapter: remembers them, answers as recorded."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str | None]] = []
        self.environments: list[dict[str, str]] = []
        self.copies: list[str] = []
        self.stdout, self.stderr, self.status = "", "", 0

    def session(
        self,
        pool: Any,
        connection: Any,
        command: str,
        environment: Any,
        stdin: Any,
        capture: Capture,
        op: Any,
    ) -> int:
        if command == "env":
            return 0  # A server that accepts no variable.
        self.commands.append((command, stdin))
        capture._take("stdout", self.stdout.encode())
        capture._take("stderr", self.stderr.encode())
        return self.status

    def local(self, command: str, op: Any, *, stdin: str | None = None, **options: Any) -> local.Result:
        self.commands.append((command, stdin))
        self.environments.append(dict(options["environment"]))
        return local.Result(self.stdout, self.stderr)

    def copy(self, pool: Any, connection: Any, source: Any, path: str, op: Any) -> None:
        self.copies.append(path)


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Doubles:
    made = Doubles()
    monkeypatch.setattr(remote, "_session", made.session)
    monkeypatch.setattr(local, "run", made.local)
    monkeypatch.setattr(transfer, "copy", made.copy)
    return made


@pytest.fixture
def stub() -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    running, _, port = server.start(provider.CommandProvider())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    running.stop(0)


def ask(stub: provider_pb2_grpc.ResourceProviderStub, record: dict[str, Any]) -> dict[str, Any]:
    """The adapter's answer to a recorded request, in the recording's form."""
    request = json_format.ParseDict(record["request"], REQUESTS[record["method"]]())
    answer: dict[str, Any] = json_format.MessageToDict(getattr(stub, record["method"])(request))
    return answer


def of(*methods: str) -> list[Any]:
    return [
        pytest.param(
            record, id=f"{number}-{record['step']}-{record['method']}-{record['request'].get('name', '')}"
        )
        for number, record in enumerate(RECORDS)
        if record["method"] in methods
    ]


@pytest.mark.parametrize("record", of("Check", "Diff", "Read", "CheckConfig", "Configure", "GetPluginInfo"))
def test_pure_answers_are_the_same(record: dict[str, Any], stub: Any) -> None:
    assert ask(stub, record) == record["response"]


def test_handshake_offers_no_more_than_is_done(stub: Any) -> None:
    record = next(record for record in RECORDS if record["method"] == "Handshake")
    # Byte strings are newer than every value these resources take.
    expected = {key: value for key, value in record["response"].items() if key != "acceptsByteString"}
    assert ask(stub, record) == expected


@pytest.mark.parametrize("record", of("DiffConfig"))
def test_the_engine_compares_the_providers_own_inputs(record: dict[str, Any], stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(stub, record)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("record", of("Create"))
def test_create(record: dict[str, Any], stub: Any, doubles: Doubles) -> None:
    inputs = reveal(
        from_struct(json_format.ParseDict(record["request"], provider_pb2.CreateRequest()).properties)
    )
    if record.get("errors"):
        doubles.stdout, doubles.stderr, doubles.status = "out\n", "err\n", 3
        with pytest.raises(grpc.RpcError) as caught:
            ask(stub, record)
        assert [caught.value.details()] == [error.split("desc = ", 1)[1] for error in record["errors"]]
        assert caught.value.code() == grpc.StatusCode.UNKNOWN
        return
    expected = record["response"]
    preview = record["request"].get("preview", False)
    if not preview:
        doubles.stdout = reveal_text(expected["properties"].get("stdout", ""))
        doubles.stderr = reveal_text(expected["properties"].get("stderr", ""))
    answer = ask(stub, record)
    assert answer["properties"] == expected["properties"]
    # Names are kept, the random part has eight hexadecimal digits.
    if expected.get("id"):
        prefix = expected["id"][:-8]
        assert answer["id"][:-8] == prefix
        assert int(answer["id"][-8:], 16) >= 0
        assert answer["id"] != expected["id"]
    else:
        assert "id" not in answer
    if preview:
        assert (doubles.commands, doubles.copies) == ([], [])
    elif "create" in inputs:
        assert doubles.commands == [(inputs["create"], inputs.get("stdin"))]
    else:
        assert doubles.copies == [inputs["remotePath"]]


@pytest.mark.parametrize("record", of("Update"))
def test_update(record: dict[str, Any], stub: Any, doubles: Doubles) -> None:
    request = json_format.ParseDict(record["request"], provider_pb2.UpdateRequest())
    news, olds = reveal(from_struct(request.news)), reveal(from_struct(request.olds))
    expected = record["response"]["properties"]
    if not request.preview:
        doubles.stdout = reveal_text(expected.get("stdout", ""))
        doubles.stderr = reveal_text(expected.get("stderr", ""))
    assert ask(stub, record)["properties"] == expected
    if request.preview:
        assert (doubles.commands, doubles.copies) == ([], [])
    elif "source" in news:
        # A changed connection alone copies nothing again.
        assert doubles.copies == ([news["remotePath"]] if news["source"].hash != olds["source"].hash else [])
    else:
        assert doubles.commands == [(news.get("update", news["create"]), news.get("stdin"))]
        for environment in doubles.environments:
            assert environment["PULUMI_COMMAND_STDOUT"] == olds["stdout"]
            assert environment["GREETING"] == news["environment"]["GREETING"]


@pytest.mark.parametrize("record", of("Delete"))
def test_delete(record: dict[str, Any], stub: Any, doubles: Doubles) -> None:
    olds = reveal(
        from_struct(json_format.ParseDict(record["request"], provider_pb2.DeleteRequest()).properties)
    )
    assert ask(stub, record) == {}
    assert [command for command, _ in doubles.commands] == ([olds["delete"]] if "delete" in olds else [])
    assert doubles.copies == []


def test_the_recording_covers_what_it_is_read_for() -> None:
    """A recording cut short would make the tests above pass for nothing."""
    steps = {record["step"].split("-")[0] for record in RECORDS}
    assert steps == {"1", "2", "3", "4", "5", "6", "7", "8"}
    for method in ("Check", "Diff", "Create", "Update", "Read", "Delete"):
        assert len(of(method)) >= 5, method
    previews = [record for record in RECORDS if record["request"].get("preview")]
    assert any(has_unknown_text(record["response"]) for record in previews)


def has_unknown_text(response: dict[str, Any]) -> bool:
    properties = json_format.ParseDict(response["properties"], provider_pb2.CreateResponse().properties)
    return has_unknown(from_struct(properties))


def reveal_text(value: Any) -> str:
    return value["value"] if isinstance(value, dict) else value
