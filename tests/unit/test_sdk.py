"""What the program has the SDK do otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, resource, rpc
from pulumi.runtime.settings import SETTINGS

from jarvis.core.component import Component
from jarvis.core.sdk import (
    file_asset,
    keep_secrets_out_of_logs,
    keep_stack_traces_out_of_state,
    settled,
)
from jarvis.pki import Password, PasswordArgs
from jarvis.remote import (
    HostService,
    HostServiceArgs,
    Target,
    Transfer,
    TransferArgs,
)
from tests.unit.harness import SIGNATURE, record


class Outer(Component, token="test:Outer"):
    """A component with a component in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.inner = Inner(name, self.child())
        self.register_outputs({})


class Inner(Component, token="test:Inner"):
    """A component with a role of a server."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, opts)
        target = Target(server="one", host="192.0.2.1", host_key="ssh-ed25519 AAAA").ending_with(self)
        HostService(name, "role", HostServiceArgs(target=target), self.child())
        self.register_outputs({})


def test_a_file_whose_digest_is_known_is_not_read() -> None:
    target = Target(server="one", host="192.0.2.1", host_key="ssh-ed25519 AAAA")
    args = TransferArgs(
        target=target, source="/nowhere/release.raw", sha256="5" * 64, path="/tmp/release.raw"
    )
    graph = record(lambda: Transfer("a", args))
    assert graph.resources["command:remote:CopyToRemote a"].inputs["source"] == {
        SIGNATURE: rpc._special_asset_sig,
        "path": "/nowhere/release.raw",
        "hash": "5" * 64,
    }


def test_the_engine_gets_what_it_gets_of_the_sdks_own_asset_and_the_digest() -> None:
    own = asyncio.run(rpc.serialize_property(pulumi.FileAsset("/nowhere/a"), [], "source", None))
    made: Any = file_asset("/nowhere/a", "5" * 64)
    assert made == {**own, "hash": "5" * 64}


def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The lines that the SDK logs from now on, by the engine of the mocks."""
    lines: list[Any] = []

    class Engine(mocks.MockEngine):
        def Log(self, request: Any) -> None:
            lines.append(request)

    monkeypatch.setattr(mocks, "MockEngine", Engine)
    return lines


def some() -> None:
    pulumi.log.info("a line of the program")
    Outer("a")
    Password("c", PasswordArgs())


def test_the_debug_log_is_empty_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)
    lines = logged(monkeypatch)
    record(some)
    assert len(lines) > 10
    lines.clear()
    keep_secrets_out_of_logs()
    record(some)
    assert [line.message for line in lines] == ["a line of the program"]


@pytest.mark.parametrize(
    ("trick", "module", "name"),
    [
        (keep_secrets_out_of_logs, pulumi.log, "debug"),
        (keep_stack_traces_out_of_state, resource, "_get_stack_trace"),
    ],
)
def test_the_graph_is_the_same_and_another_sdk_is_told(
    monkeypatch: pytest.MonkeyPatch, trick: Callable[[], None], module: ModuleType, name: str
) -> None:
    monkeypatch.setattr(module, name, getattr(module, name))
    before = record(some)
    trick()
    assert record(some).resources == before.resources
    monkeypatch.delattr(module, name)
    with pytest.raises(AttributeError, match="this SDK of Pulumi"):
        trick()


def test_an_sdk_that_marks_assets_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rpc, "_special_asset_sig")
    with pytest.raises(AttributeError, match="_special_asset_sig"):
        file_asset("/nowhere/a", "5" * 64)


@pytest.fixture
def outputs() -> Iterator[set[asyncio.Task[int]]]:
    """The SDK's own list, empty before and after."""
    listed: set[asyncio.Task[int]] = SETTINGS.outputs
    listed.clear()
    yield listed
    listed.clear()


def test_all_outputs_are_waited_for_and_those_that_come_meanwhile(outputs: set[asyncio.Task[int]]) -> None:
    order: list[str] = []

    async def step(name: str, then: str = "") -> int:
        await asyncio.sleep(0.01)
        order.append(name)
        if then:
            outputs.add(asyncio.ensure_future(step(then)))
        return 1

    async def main() -> bool:
        outputs.add(asyncio.ensure_future(step("first", then="second")))
        return await settled()

    assert asyncio.run(main())
    assert order == ["first", "second"]


def test_an_output_that_failed_is_left_for_the_sdk_to_tell(outputs: set[asyncio.Task[int]]) -> None:
    async def fail() -> int:
        raise RuntimeError("registration failed")

    async def main() -> bool:
        never = asyncio.get_running_loop().create_future()
        failing = asyncio.ensure_future(fail())
        outputs.update({failing, never})  # type: ignore[arg-type]
        assert not await asyncio.wait_for(settled(), 10)
        never.cancel()
        return failing in outputs

    assert asyncio.run(main())
