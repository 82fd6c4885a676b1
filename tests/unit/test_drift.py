"""What servers say of themselves becomes a change of the role concerned, once, and of nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.before import read_before, to_record
from jarvis.drift import Drift, Kept, Seen, SilentError, Watch, read_kept, read_watch, seen
from jarvis.drift.ask import Looked, deployed, look
from tests.golden.test_golden import environment_of
from tests.unit import runs
from tests.unit.harness import Graph
from tests.unit.test_hosts_clock import environment

# Answers as a server would: by the file of its name, which has what it says, or how it does not answer. What
# it says of Kubernetes is in another, ``<name>.api``, where there is one.
SSH = """#!/bin/bash
set -euo pipefail
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/calls"
for word in "$@"; do
  case $word in
    HostKeyAlias=*) server=${word#*=} ;;
    *JARVIS_PATIENCE_FACTOR=*) [ ! -e "$here/$server.api" ] || server=$server.api ;;
  esac
done
case $(head -n 1 "$here/$server") in
  hang) exec sleep 60 ;;
  refuse) echo "ssh: connect to host $server port 22: Connection refused" >&2; exit 255 ;;
  *) cat >"$here/$server.input"; cat "$here/$server" ;;
esac
"""
COMMAND = "command:remote:Command"


def went(env: Environment) -> Environment:
    """``env`` in the run that follows the one that deployed it."""
    return env.after(read_before(to_record(env)))


def answer(**roles: list[str]) -> str:
    return json.dumps({"roles": {name.replace("_", "-"): found for name, found in roles.items()}})


Servers = Callable[..., Path]


@pytest.fixture
def servers(ssh_of: Callable[..., Path]) -> Servers:
    """A function that makes an ``ssh`` that knows servers s1, s2, …, and returns its folder."""
    return partial(ssh_of, SSH)


def test_servers_are_asked_side_by_side_in_one_connection_each(servers: Servers) -> None:
    folder = servers(answer(base=["a: removed"]), answer(base=[], etcd=[]), answer())
    env = environment(3)
    looked = asyncio.run(look(env, env.servers))
    assert looked == Looked(found={"s1": {"base": ["a: removed"]}, "s2": {"base": [], "etcd": []}, "s3": {}})
    assert looked.lines() == ["s1: base: a: removed"]
    assert looked.error() == ""
    calls = (folder / "calls").read_text().splitlines()
    assert len(calls) == 3
    for call in calls:
        assert "ConnectTimeout=60 " in call
        assert call.endswith(" exec bash -s")
    assert (folder / "s1.input").read_text().startswith("#!/bin/bash\n# Says what on this server")


def test_a_user_who_is_not_root_asks_by_sudo(servers: Servers) -> None:
    folder = servers(answer())
    env = environment(1, ssh={"user": "admin", "sudo": True, "wait_seconds": 10})
    assert asyncio.run(look(env, env.servers)).silent == {}
    call = (folder / "calls").read_text()
    assert "exec bash -s\n# the end of a command of Jarvis\n" in call
    assert "| sudo -n env " in call
    assert "ConnectTimeout=10 " in call


def test_who_does_not_answer_is_named_with_the_reason(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jarvis.drift.ask._ANSWER_SECONDS", 1)
    monkeypatch.setattr("jarvis.drift.ask.wait_seconds", lambda _: 1)
    servers("refuse", "hang", "no JSON", answer(), '{"roles": {"base": "text"}}')
    env = environment(5)
    looked = asyncio.run(look(env, env.servers))
    assert looked.found == {"s4": {}}
    assert looked.silent == {
        "s1": "ssh: connect to host s1 port 22: Connection refused",
        "s2": "no answer in time",
        "s3": "it said something else than a list of roles: b'no JSON'",
        "s5": """it said something else than a list of roles: b'{"roles": {"base": "text"}}'""",
    }
    error = looked.error()
    for server, why in looked.silent.items():
        assert f"  {server}: {why}\n" in error
    assert error.endswith("pulumi config set jarvis:observe lenient")


def test_no_ssh_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    env = environment(1)
    assert asyncio.run(look(env, env.servers)).silent == {"s1": "ssh: No such file or directory"}


@pytest.mark.parametrize(
    ("text", "watch"),
    [
        (None, Watch.TRUE),
        ("", Watch.TRUE),
        ("true", Watch.TRUE),
        ("False", Watch.FALSE),
        ("lenient", Watch.LENIENT),
    ],
)
def test_the_configuration_says_whether_servers_are_asked(text: str | None, watch: Watch) -> None:
    assert read_watch(text) is watch


def test_another_word_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="jarvis:observe is 'maybe'; it is true, false, or lenient"):
        read_watch("maybe")


def test_only_what_is_deployed_and_not_lost_is_asked() -> None:
    env = environment(3)
    assert deployed(env) == []
    assert [one.name for one in deployed(went(env))] == ["s1", "s2", "s3"]
    was = environment(2)
    assert [one.name for one in deployed(env.after(read_before(to_record(was))))] == ["s1", "s2"]
    gone = env.servers[2].model_copy(update={"lost": True})
    now = env.model_copy(update={"servers": [*env.servers[:2], gone]})
    assert [one.name for one in deployed(now.after(read_before(to_record(env))))] == ["s1", "s2"]
    # One that was lost, and is to be made anew.
    assert [one.name for one in deployed(env.after(read_before(to_record(now))))] == ["s1", "s2"]


FIRST = {"s1": {"etcd": Seen(count=1, sentences=("a",))}}


@pytest.mark.parametrize(
    ("kept", "found", "known"),
    [
        ({}, {"s1": {"etcd": [], "base": []}}, {}),
        ({}, {"s1": {"etcd": ["a"], "base": []}}, FIRST),
        # What was mended is no change again, whether the server was asked or not.
        (FIRST, {"s1": {"etcd": []}}, FIRST),
        (FIRST, {}, FIRST),
        # The same once more is one.
        (FIRST, {"s1": {"etcd": ["a"]}}, {"s1": {"etcd": Seen(count=2, sentences=("a",))}}),
        # A role that is not there any more.
        (FIRST, {"s1": {"base": []}}, {}),
        ({**FIRST, "s2": FIRST["s1"]}, {"s2": {}}, FIRST),
    ],
)
def test_what_is_known_from_one_run_to_the_next(
    kept: Kept, found: Mapping[str, Mapping[str, Sequence[str]]], known: Kept
) -> None:
    assert seen.after(kept, found) == known
    # As the engine gives it back.
    again = json.loads(json.dumps(seen.to_record(known)), parse_int=float)
    assert read_kept(again) == known
    assert read_kept({}) == {}


def test_many_and_long_sentences_have_an_end() -> None:
    found = seen.parse(json.dumps({"roles": {"base": ["x" * 1000] * 99, "etcd": ["a\n b"]}}).encode())
    assert found["etcd"] == ["a b"]
    [role] = seen.after({}, {"s1": {"base": found["base"]}})["s1"].values()
    assert len(role.sentences) == 41
    assert role.sentences[-1] == "and 59 more"
    assert sum(map(len, role.lines)) < 16_000


Said = Mapping[str, Mapping[str, Sequence[str]]]


def drift(env: Environment, said: Said, *, kept: Kept = {}, watch: Watch = Watch.TRUE) -> Drift:  # noqa: B006
    """Of a run on servers that say ``said``; those that are not named are silent."""

    async def ask(_: Environment, asked: Sequence[Server]) -> Looked:
        names = [one.name for one in asked]
        return Looked(
            found={name: said[name] for name in names if name in said},
            silent={name: "no route to host" for name in names if name not in said},
        )

    return Drift(env, watch, kept, ask)


def known(env: Environment, said: Said, **options: Any) -> Kept:
    async def run() -> Kept:
        made = drift(env, said, **options)
        try:
            return await made.known()
        finally:
            await made.end()

    return asyncio.run(run())


def test_each_finding_is_told_with_its_server_and_role(warnings: list[str]) -> None:
    env = went(environment(2))
    assert known(env, {"s1": {"etcd": ["a"]}, "s2": {"base": []}}) == FIRST
    assert warnings == ["s1: etcd: a"]


def test_a_silent_server_ends_the_run_unless_it_may_be_passed_over(warnings: list[str]) -> None:
    env = went(environment(2))
    said: dict[str, dict[str, list[str]]] = {"s1": {"base": []}}
    with pytest.raises(SilentError, match="  s2: no route to host"):
        known(env, said)
    kept = {"s2": FIRST["s1"]}
    assert known(env, said, kept=kept, watch=Watch.LENIENT) == kept
    assert warnings == ["s2: what is on it was not looked at: no route to host"]
    assert known(env, {}, kept=kept, watch=Watch.FALSE) == kept
    assert known(environment(2), {}) == {}


def test_what_was_known_of_a_server_that_left_goes_with_it() -> None:
    env = went(environment(2))
    kept = {**FIRST, "s9": FIRST["s1"]}
    assert known(env, {}, kept=kept, watch=Watch.FALSE) == FIRST


def test_a_server_with_nothing_of_jarvis_is_told(warnings: list[str]) -> None:
    assert known(went(environment(1)), {"s1": {}}) == {}
    assert warnings[0].startswith("s1: nothing of Jarvis is on it; if its disk was wiped, see docs/")


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return went(environment_of("dev", tmp_path_factory.mktemp("project")))


def graph_of(env: Environment, said: Said, kept: Kept = {}) -> Graph:  # noqa: B006
    return runs.graph_of(env, "dev", lambda: drift(env, said, kept=kept))


WELL: dict[str, dict[str, list[str]]] = {
    server: {
        role: []
        for role in ("apply", "base", "release", "etcd", "kubelet", "ceph-mon", "database-account-keystone")
    }
    for server in ("jarvis-1", "jarvis-2", "jarvis-3")
}


def saying(server: str, role: str, *sentences: str) -> Said:
    return {**WELL, server: {**WELL[server], role: list(sentences)}}


@pytest.fixture(scope="module")
def untouched(env: Environment) -> Graph:
    return graph_of(env, WELL)


def changed(before: Graph, after: Graph) -> dict[str, str]:
    """The resources whose inputs differ, each with the lines that its command's text has more."""
    assert before.resources.keys() == after.resources.keys()
    found = {}
    for label, one in after.resources.items():
        was = before.resources[label].inputs
        if one.inputs != was:
            assert {key for key in one.inputs if one.inputs[key] != was.get(key)} == {"create"}, label
            old = was["create"].splitlines()
            found[label] = "\n".join(line for line in one.inputs["create"].splitlines() if line not in old)
    return found


def test_where_nothing_is_found_nothing_changes(env: Environment, untouched: Graph) -> None:
    without = runs.graph_of(env, "dev")
    assert changed(without, untouched) == {}


# Of each kind one: server, role, and the resource that applies it.
ROLES = [
    ("jarvis-2", "apply", "jarvis-2-apply"),
    ("jarvis-2", "base", "jarvis-2-base"),
    ("jarvis-1", "release", "jarvis-1-release"),
    ("jarvis-3", "etcd", "etcd-jarvis-3"),
    ("jarvis-1", "kubelet", "jarvis-1-node-kubelet"),
    ("jarvis-2", "ceph-mon", "storage-jarvis-2-mon"),
    ("jarvis-1", "database-account-keystone", "keystone-database"),
]


def test_a_finding_changes_the_resource_of_its_role_and_nothing_else(
    env: Environment, untouched: Graph
) -> None:
    said = {server: dict(roles) for server, roles in WELL.items()}
    for server, role, resource in ROLES:
        said[server][role] = [f"it's /etc/{resource}: edited", 'rule "b"']
    found = changed(untouched, graph_of(env, said))
    mark = {"apply": "# seen"}
    assert found == {
        f"{COMMAND} {resource}": "\n".join(
            f"{mark.get(role, 'seen')} 1: {text}" for text in (f"it's /etc/{resource}: edited", 'rule "b"')
        )
        for _, role, resource in ROLES
    }


def test_what_was_mended_is_no_change_and_what_comes_again_is(env: Environment, untouched: Graph) -> None:
    said = saying("jarvis-1", "etcd", "etcd.service: stopped")
    first = graph_of(env, said)
    kept = seen.after({}, said)
    assert changed(first, graph_of(env, WELL, kept)) == {}
    again = graph_of(env, said, kept)
    assert changed(first, again) == {f"{COMMAND} etcd-jarvis-1": "seen 2: etcd.service: stopped"}
    other = graph_of(env, saying("jarvis-1", "etcd", "/etc/etcd: removed"), kept)
    assert changed(untouched, other) == {f"{COMMAND} etcd-jarvis-1": "seen 2: /etc/etcd: removed"}
