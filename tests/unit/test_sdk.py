"""What the program has the SDK do otherwise, and where a stack made by a former version goes on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, rpc
from pulumi.runtime.settings import SETTINGS

from jarvis.core.component import Component
from jarvis.core.sdk import send, settled
from jarvis.pki import Password, PasswordArgs
from jarvis.remote import (
    HostService,
    HostServiceArgs,
    LocalSecret,
    LocalSecretArgs,
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


def test_what_was_a_components_only_child_is_found_there() -> None:
    graph = record(lambda: (Outer("a"), LocalSecret("b", LocalSecretArgs(request={}))))
    assert graph.resources["command:remote:Command a"].aliases == {
        "urn:pulumi:test::jarvis::jarvis:test:Outer$jarvis:test:Inner$jarvis:remote:HostService::a"
    }
    assert graph.resources["command:local:Command b"].aliases == {
        "urn:pulumi:test::jarvis::jarvis:remote:LocalSecret::b"
    }


def test_what_was_an_only_child_twice_is_found_in_either_place() -> None:
    graph = record(lambda: Password("c", PasswordArgs()))
    assert graph.resources["command:local:Command c"].aliases == {
        "urn:pulumi:test::jarvis::jarvis:pki:Password::c",
        "urn:pulumi:test::jarvis::jarvis:pki:Password$jarvis:remote:LocalSecret::c",
    }


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


def test_what_is_registered_is_sent_before_the_program_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = threading.Event()

    class Told(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            if request.name == "a":
                arrived.set()
            return super().RegisterResource(request)

    monkeypatch.setattr(mocks, "MockMonitor", Told)

    async def program() -> None:
        target = Target(server="one", host="192.0.2.1", host_key="ssh-ed25519 AAAA")
        HostService("a", "role", HostServiceArgs(target=target, units=["a.service"]))
        await send()
        # The loop stands still meanwhile: what is not on its way by now does not arrive.
        assert arrived.wait(10)

    record(program)


@pytest.fixture
def outputs() -> set[asyncio.Task[int]]:
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
