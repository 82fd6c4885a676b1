"""What a run begins with: the record of the last one is compared first, and known to all that is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

import pulumi
import pytest

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.before import to_record
from jarvis.core.deployed import OUTPUT
from jarvis.core.identity import Identity
from jarvis.drift import KEYSTONE, Kept, Seen, Source
from jarvis.drift.ask import Looked
from jarvis.drift.lists import Asked
from jarvis.drift.owners import Live, Owned
from stacks import start
from tests.golden.test_golden import artifacts
from tests.unit.test_hosts_clock import environment


class Stack:
    """A stack with the configuration ``env`` and the record ``deployed``. ``read``: whether a run came as far
    as the artifacts. ``warnings``: what it told. ``asked``: the servers that were asked what is on them,
    ``found``: what that is on the first, in its role etcd; ``known``: what the run knows of them.
    ``registered``: what Keystone has otherwise than was ``expected`` of it."""

    def __init__(self, env: Environment, deployed: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
        self.read = False
        self.warnings: list[str] = []
        self.asked: list[str] = []
        self.found: list[str] = []
        self.registered: list[str] = []
        self.expected: object = None
        self.known: Kept = {}

        async def last_deployed() -> dict[str, Any]:
            return deployed

        async def check_clock(_: Environment) -> None:
            return None

        def load_artifacts() -> object:
            self.read = True
            return artifacts()

        async def look(_: Environment, servers: Sequence[Server]) -> Looked:
            self.asked = [one.name for one in servers]
            return Looked(found={self.asked[0]: {"etcd": self.found}})

        async def ask(_: Environment, servers: Sequence[Server], lists: Sequence[str]) -> Asked:
            return Asked()

        def keystone(_: Environment, registered: object) -> Source:
            async def look_there() -> Looked:
                return Looked(found={KEYSTONE: {"glance-register": self.registered}})

            self.expected = registered
            return Source(name=KEYSTONE, look=look_there)

        patch.setattr("jarvis.drift.run.look", look)
        patch.setattr("jarvis.drift.objects.ask", ask)
        patch.setattr(start, "keystone_source", keystone)
        patch.setattr(start, "read_registered", lambda record: record.get("registered"))
        patch.setattr(start, "load_environment", lambda: env)
        patch.setattr(start, "check_credentials", lambda _, preview: [])
        patch.setattr(start, "last_deployed", last_deployed)
        patch.setattr(start, "check_clock", check_clock)
        patch.setattr(start, "load_artifacts", load_artifacts)
        patch.setattr(pulumi.log, "warn", self.warnings.append)

    def run(self) -> Environment:
        """A run that declares nothing; its environment."""

        async def program() -> Environment:
            async with start.begun() as run:
                self.known = await run.drift.known()
                return run.env

        return asyncio.run(program())


def recorded(env: Environment, known: Kept = {}) -> dict[str, Any]:  # noqa: B006
    """What the run of ``env`` leaves for the next one, with what is ``known`` of its servers."""

    async def value() -> Any:
        registered = {"url": pulumi.Output.secret("https://identity.example.org/v3")}
        return await start.record(env, known, registered)[OUTPUT].future()

    found: dict[str, Any] = json.loads(json.dumps(asyncio.run(value())))
    return found


def moved(env: Environment, address: str) -> Environment:
    networks = env.networks.model_copy(update={"virtual_address": IPv4Address(address)})
    return env.model_copy(update={"networks": networks})


def test_a_run_leaves_what_the_next_one_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    record = recorded(env)
    assert record.keys() == {"rotations", "kept", "seen", "registered", *to_record(env)}
    assert record["registered"] == {"url": "https://identity.example.org/v3"}
    stack = Stack(moved(env, "192.0.2.101"), record, monkeypatch)
    found = stack.run()
    assert [str(one) for one in found.held_addresses] == ["192.0.2.100", "192.0.2.101"]
    [warning] = stack.warnings
    assert "192.0.2.100 stays held beside 192.0.2.101" in warning
    # And the one after that.
    stack = Stack(moved(env, "192.0.2.101"), recorded(found), monkeypatch)
    assert [str(one) for one in stack.run().held_addresses] == ["192.0.2.101"]
    assert len(stack.warnings) == 1


def test_an_unchanged_stack_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    # The last: of a version that recorded no more.
    records: list[dict[str, Any]] = [{}, recorded(env), {"rotations": {}, "kept": {}}]
    for record in records:
        stack = Stack(env, record, monkeypatch)
        assert stack.run() == env.after(stack.run().before)
        assert stack.warnings == []


def test_what_cannot_change_ends_a_run_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    stack = Stack(env.model_copy(update={"name": "other"}), recorded(env), monkeypatch)
    with pytest.raises(ConfigurationError, match="  name: test is deployed, and other is not possible"):
        stack.run()
    assert not stack.read
    # Nothing is deployed any more after `pulumi destroy`.
    Stack(env.model_copy(update={"name": "other"}), {}, monkeypatch).run()


def test_what_is_on_the_servers_is_known_and_left_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    stack = Stack(env, {}, monkeypatch)
    stack.run()
    assert (stack.asked, stack.known) == ([], {})
    stack = Stack(env, recorded(env), monkeypatch)
    stack.found = ["etcd.service: stopped"]
    stack.run()
    found = Seen(count=1, sentences=("etcd.service: stopped",))
    assert (stack.asked, stack.known) == (["s1", "s2"], {"s1": {"etcd": found}})
    assert stack.warnings == ["s1: etcd: etcd.service: stopped"]
    # The run after the one that mended it, where it is stopped again.
    stack = Stack(env, recorded(env, stack.known), monkeypatch)
    stack.found = ["etcd.service: stopped"]
    stack.run()
    assert stack.known["s1"]["etcd"].count == 2


def test_a_word_that_jarvis_observe_does_not_know_is_told_first(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    stack = Stack(env, recorded(env), monkeypatch)
    monkeypatch.setattr(pulumi.Config, "get", lambda *_: "yes")
    with pytest.raises(ConfigurationError, match="jarvis:observe is 'yes'"):
        stack.run()
    assert not stack.read


def test_what_is_ours_in_kubernetes_is_left_for_the_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(2)
    one = Identity(kind="ConfigMap", namespace="openstack", name="glance")
    after = Live(owners=[Owned(manager="pulumi-kubernetes-1", time="t", paths=frozenset({("f:data",)}))])
    Stack(env, recorded(env), monkeypatch)

    async def ask(_: Environment, servers: Sequence[Server], lists: Sequence[str]) -> Asked:
        assert [server.name for server in servers] == ["s1"]
        return Asked(live={one: after})

    monkeypatch.setattr("jarvis.drift.objects.ask", ask)

    async def program() -> Any:
        async with start.begun() as run:
            await run.drift.known()
            assert run.drift.objects is not None
            run.drift.objects.see(one, ignored=[], protected=False)
            return await (await start.left(run, {}))[OUTPUT].future()

    found = json.loads(json.dumps(asyncio.run(program())))
    assert found["objects"] == {str(one): {"time": "t", "fields": '{"f:data":{}}'}}
    assert found.keys() == {*recorded(env), "objects"}


def test_what_is_in_keystone_is_compared_with_what_the_last_run_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = environment(2)
    stack = Stack(env, recorded(env), monkeypatch)
    stack.registered = ["user glance: disabled"]
    stack.run()
    assert stack.expected == {"url": "https://identity.example.org/v3"}
    found = Seen(count=1, sentences=("user glance: disabled",))
    assert stack.known == {KEYSTONE: {"glance-register": found}}
    assert stack.warnings == ["Keystone: glance-register: user glance: disabled"]
    # The run after the one that mended it.
    stack = Stack(env, recorded(env, stack.known), monkeypatch)
    stack.run()
    assert (stack.known, stack.warnings) == ({KEYSTONE: {"glance-register": found}}, [])
