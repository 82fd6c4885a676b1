"""The adapter's answers, held against the recorded ones of the official plugin, over real gRPC."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from fake_api import FakeApi
from google.protobuf import json_format

from toolchain.plugins.common import server
from toolchain.plugins.common.diff import top_level
from toolchain.plugins.common.protos import empty_pb2, provider_pb2, provider_pb2_grpc
from toolchain.plugins.kubernetes import client, cluster, provider, waiting

RECORDS = [
    json.loads(line)
    for line in (Path(__file__).parent / "recordings" / "kubernetes.jsonl").read_text().splitlines()
]
REQUESTS = {
    "GetPluginInfo": empty_pb2.Empty,
    "CheckConfig": provider_pb2.CheckRequest,
    "DiffConfig": provider_pb2.DiffRequest,
    "Check": provider_pb2.CheckRequest,
    "Diff": provider_pb2.DiffRequest,
    "Create": provider_pb2.CreateRequest,
    "Update": provider_pb2.UpdateRequest,
    "Read": provider_pb2.ReadRequest,
    "Delete": provider_pb2.DeleteRequest,
}
OWN = ("__fieldManager", "__initialApiVersion", "__inputs")
SIGNATURE = "4dabf18193072939515e22adb298388d"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def adapter(api: FakeApi) -> provider.KubernetesProvider:
    made = provider.KubernetesProvider()
    made._reach.use(cluster.Cluster(client.Client(api, made.cancellation)))
    return made


@pytest.fixture
def stub(adapter: provider.KubernetesProvider) -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    running, _, port = server.start(adapter)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    running.stop(0)


def ask(stub: Any, record: dict[str, Any]) -> dict[str, Any]:
    """The adapter's answer to a recorded request, in the recording's form."""
    request = json_format.ParseDict(record["request"], REQUESTS[record["method"]]())
    answer: dict[str, Any] = json_format.MessageToDict(getattr(stub, record["method"])(request))
    return answer


def of(*methods: str, preview: bool | None = None) -> list[Any]:
    return [
        pytest.param(
            record, id=f"{number}-{record['step']}-{record['method']}-{record['request'].get('name', '')}"
        )
        for number, record in enumerate(RECORDS)
        if record["method"] in methods and preview in (None, bool(record["request"].get("preview")))
    ]


def live_of(properties: dict[str, Any]) -> dict[str, Any]:
    """The API's object behind recorded outputs."""
    plain: dict[str, Any] = opened({key: value for key, value in properties.items() if key not in OWN})
    plain["metadata"]["managedFields"] = [{"manager": "somebody", "operation": "Update"}]
    return plain


def opened(value: Any) -> Any:
    if isinstance(value, dict):
        if SIGNATURE in value:
            return opened(value["value"])
        return {key: opened(item) for key, item in value.items()}
    return [opened(item) for item in value] if isinstance(value, list) else value


def comparable(properties: dict[str, Any], *, manager: bool) -> dict[str, Any]:
    """Outputs without what must differ: a made-up manager's digits; the status of a definition, for which
    the official plugin does not wait."""
    out = copy.deepcopy(properties)
    if not manager and "__fieldManager" in out:
        prefix, _, digits = out["__fieldManager"].rpartition("-")
        assert int(digits, 16) >= 0
        assert len(digits) == 8
        out["__fieldManager"] = prefix
    if out.get("kind") == "CustomResourceDefinition":
        out.pop("status", None)
    return out


def established(live: dict[str, Any]) -> dict[str, Any]:
    if live["kind"] == "CustomResourceDefinition":
        live["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
    return live


@pytest.mark.parametrize("record", of("GetPluginInfo", "CheckConfig"))
def test_configuration(record: dict[str, Any], stub: Any) -> None:
    assert ask(stub, record) == record["response"]


@pytest.mark.parametrize("record", of("DiffConfig"))
def test_unchanged_configuration(record: dict[str, Any], stub: Any) -> None:
    assert ask(stub, record)["changes"] == record["response"]["changes"] == "DIFF_NONE"


@pytest.mark.parametrize("record", of("Check"))
def test_check(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    answer, expected = ask(stub, record), copy.deepcopy(record["response"])
    made_up = "name" not in record["request"]["news"]["metadata"] and not record["request"]["olds"]
    if made_up:
        # A new name of the same form; the same again for the same seed.
        name, other = answer["inputs"]["metadata"], expected["inputs"]["metadata"]
        assert ask(stub, record) == answer
        assert len(name["name"]) == len(other["name"])
        base, _, digits = name.pop("name").rpartition("-")
        assert base == other.pop("name").rpartition("-")[0]
        assert int(digits, 16) >= 0
    assert answer == expected
    assert api.requests == []


@pytest.mark.parametrize("record", of("Diff"))
def test_diff_asks_no_cluster(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    answer, expected = ask(stub, record), record["response"]
    for name in ("changes", "detailedDiff", "deleteBeforeReplace", "hasDetailedDiff"):
        assert answer.get(name) == expected.get(name), name
    # The common base names top-level properties where the official plugin names paths.
    assert answer.get("replaces", []) == sorted({top_level(path) for path in expected.get("replaces", [])})
    assert api.requests == []


@pytest.mark.parametrize("record", of("Create", preview=True))
def test_preview_of_a_create(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    expected = record["response"]["properties"]
    if "__inputs" in expected:
        api.after = live_of(expected)
    elif record["request"]["name"] == "rack":
        api.without_kind = "Rack"
    elif not record["step"].startswith("1"):
        # The object to be replaced is still there.
        api.refusal = 409, {"kind": "Status", "reason": "AlreadyExists", "message": "already exists"}
    answer = ask(stub, record)
    assert "id" not in answer
    assert comparable(answer["properties"], manager=False) == comparable(expected, manager=False)
    assert api.writes() == []


@pytest.mark.parametrize("record", of("Create", preview=False))
def test_create(record: dict[str, Any], stub: Any, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    if record.get("errors"):
        return_unready(api, record)
        monkeypatch.setattr(waiting, "seconds_for", lambda inputs, custom: 0.0)
        with pytest.raises(grpc.RpcError) as caught:
            ask(stub, record)
        assert [caught.value.details()] == [error.split("desc = ", 1)[1] for error in record["errors"]]
        return
    expected = record["response"]
    api.after = established(live_of(expected["properties"]))
    if record["request"]["type"].endswith("Patch"):
        api.there = api.after
    answer = ask(stub, record)
    assert answer["id"] == expected["id"]
    assert comparable(answer["properties"], manager=False) == comparable(
        expected["properties"], manager=False
    )
    ((method, _, query, body),) = api.writes()
    if record["request"]["type"].endswith("Patch"):
        manager = answer["properties"]["__fieldManager"]
        assert (method, query["force"], query["fieldManager"]) == ("PATCH", "false", manager)
    else:
        # What is there already is refused by the server, and is never changed by a creation.
        assert (method, query["fieldManager"]) == ("POST", "pulumi-kubernetes")
    assert body == opened(record["request"]["properties"])


def return_unready(api: FakeApi, record: dict[str, Any]) -> None:
    deleted = next(
        item["request"]["properties"]
        for item in RECORDS
        if item["method"] == "Delete" and item["request"]["name"] == record["request"]["name"]
    )
    api.after = live_of(deleted)


@pytest.mark.parametrize("record", of("Update"))
def test_update(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    olds = record["request"]["olds"]
    if record.get("errors"):
        (error,) = record["errors"]
        message = error.split("had an apply conflict: ")[1]
        api.there = live_of(olds)
        cause = {"reason": "FieldManagerConflict", "message": "conflict"}
        api.refusal = (
            409,
            {"kind": "Status", "reason": "Conflict", "message": message, "details": {"causes": [cause]}},
        )
        with pytest.raises(grpc.RpcError) as caught:
            ask(stub, record)
        assert caught.value.details() == error.split("desc = ", 1)[1]
        return
    expected = record["response"]["properties"]
    api.there, api.after = live_of(olds), live_of(expected)
    assert ask(stub, record)["properties"] == expected
    if record["request"].get("preview"):
        assert api.writes() == []
    else:
        ((_, _, query, body),) = api.writes()
        assert query["fieldManager"] == olds["__fieldManager"]
        assert body == opened(record["request"]["news"])


@pytest.mark.parametrize("record", of("Read"))
def test_read(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    expected = record["response"]
    if expected:
        api.there = live_of(expected["properties"])
    # No id, empty properties: an object that is no more.
    assert {key: value for key, value in ask(stub, record).items() if value != {}} == expected
    assert api.writes() == []


@pytest.mark.parametrize("record", of("Delete"))
def test_delete(record: dict[str, Any], stub: Any, api: FakeApi) -> None:
    api.there = api.after = live_of(record["request"]["properties"])
    assert ask(stub, record) == {}
    ((method, _, query, body),) = api.writes()
    if record["request"]["type"].endswith("Patch"):
        # Its fields are given up, the object stays.
        assert (method, query["fieldManager"]) == (
            "PATCH",
            record["request"]["properties"]["__fieldManager"],
        )
        assert set(body) == {"apiVersion", "kind", "metadata"}
    else:
        owner = record["request"]["properties"]["kind"] in ("Deployment", "Job", "Rack")
        assert (method, body["propagationPolicy"]) == ("DELETE", "Foreground" if owner else "Background")
        assert api.there is None


def test_the_recording_covers_what_it_is_read_for() -> None:
    """A recording cut short would make the tests above pass for nothing."""
    assert {record["step"].split("-")[0] for record in RECORDS} == set("012345678")
    for method, least in {
        "Check": 20,
        "Diff": 20,
        "Create": 20,
        "Update": 3,
        "Read": 10,
        "Delete": 10,
    }.items():
        assert len(of(method)) >= least, method
