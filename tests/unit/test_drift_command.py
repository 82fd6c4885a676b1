"""``python -m jarvis.drift``: what it prints, and its exit status."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jarvis.config.before import to_record
from jarvis.drift import KEYSTONE, Source
from jarvis.drift.__main__ import main
from jarvis.drift.ask import Looked
from jarvis.drift.objects import to_record as objects_record
from tests.unit.test_drift import SSH, answer
from tests.unit.test_drift_objects import BINDING, OPTIONS, SENTENCE, former
from tests.unit.test_drift_objects import answer as listed
from tests.unit.test_drift_owners import OURS, THEN, entry
from tests.unit.test_hosts_clock import environment
from tests.unit.test_registered import RECORD

# What the CLI prints, by its first word. Of what it is asked secrets are a part.
PULUMI = """#!/bin/bash
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/pulumi.calls"
[ -e "$here/$1.json" ] || { echo "error: no stack named 'gone' found" >&2; exit 255; }
cat "$here/$1.json"
"""

_BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"k" * 32
KEY = f"ssh-ed25519 {base64.b64encode(_BLOB).decode()}"

Made = Callable[..., Path]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A function that makes a deployed stack of servers s1, s2, … that say what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(*said: str, observe: str = "", deployed: bool = True, **record: Any) -> Path:
        env = environment(len(said))
        values = json.loads(env.model_dump_json(exclude_unset=True))
        for server in values["servers"]:
            server["host_key"] = KEY
        config: dict[str, Any] = {"jarvis:environment": {"value": json.dumps(values), "secret": False}}
        if observe:
            config["jarvis:observe"] = {"value": observe, "secret": False}
        outputs = {"api": "https://…", **({"deployed": {**to_record(env), **record}} if deployed else {})}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "stack.json").write_text(json.dumps(outputs))
        for name, script in (("ssh", SSH), ("pulumi", PULUMI)):
            (folder / name).write_text(script)
            (folder / name).chmod(0o755)
        for at, text in enumerate(said, 1):
            (folder / f"s{at}").write_text(text)
        return folder

    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return make


Output = pytest.CaptureFixture[str]


def test_where_nothing_is_found_it_says_so(stack: Made, capsys: Output) -> None:
    folder = stack(answer(base=[]), answer(base=[], etcd=[]))
    assert main([]) == 0
    assert capsys.readouterr().out == "all is as it was deployed: 2 servers\n"
    assert sorted((folder / "pulumi.calls").read_text().splitlines()) == [
        "config --json --show-secrets --non-interactive",
        "stack output --json --show-secrets --non-interactive",
    ]


def test_what_is_found_is_a_line_each(stack: Made, capsys: Output) -> None:
    stack(answer(base=["a: removed", "b: edited"]), answer(base=[]))
    assert main(["--stack", "other"]) == 2
    assert capsys.readouterr().out == "s1: base: a: removed\ns1: base: b: edited\n"
    assert main(["--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "found": {"s1": {"base": ["a: removed", "b: edited"]}, "s2": {}},
        "silent": {},
    }


def test_what_is_found_in_kubernetes_is_a_line_each(stack: Made, capsys: Output) -> None:
    declared = {OPTIONS: former("f:data"), BINDING: former("f:subjects")}
    folder = stack(answer(base=[]), **objects_record(declared))
    metadata: dict[str, Any] = {"name": "glance", "namespace": "openstack"}
    metadata |= {"managedFields": [entry(OURS, "f:data", time=THEN), entry("x", "f:data/f:DEBUG")]}
    (folder / "s1.api").write_text(listed([metadata], []))
    assert main([]) == 2
    lines = [f"ConfigMap openstack/glance: {SENTENCE}", "ClusterRoleBinding jarvis:operators: deleted"]
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"Kubernetes: {line}" for line in lines)
    assert main(["--json"]) == 2
    assert json.loads(capsys.readouterr().out)["found"]["Kubernetes"] == {
        "ConfigMap openstack/glance": [SENTENCE],
        "ClusterRoleBinding jarvis:operators": ["deleted"],
    }
    # Where it answers, and nothing is found.
    metadata["managedFields"] = [entry(OURS, "f:data", time=THEN)]
    folder = stack(answer(base=[]), **objects_record({OPTIONS: former("f:data")}))
    (folder / "s1.api").write_text(listed([metadata]))
    assert main([]) == 0
    assert capsys.readouterr().out == "all is as it was deployed: 1 server, Kubernetes\n"


@pytest.mark.parametrize(("observe", "status"), [("", 1), ("lenient", 0)])
def test_an_api_that_does_not_answer_is_an_error_unless_it_may_be_passed_over(
    stack: Made, capsys: Output, observe: str, status: int
) -> None:
    folder = stack(answer(base=[]), observe=observe, **objects_record({OPTIONS: former("f:data")}))
    (folder / "s1.api").write_text("no lists")
    assert main([]) == status
    said = capsys.readouterr()
    why = "s1: it said something else than lists of objects"
    assert (said.out, said.err) == ("", f"Kubernetes: what Jarvis made there was not looked at: {why}\n")


@pytest.mark.parametrize(("observe", "status"), [("", 1), ("false", 1), ("lenient", 0)])
def test_a_server_that_does_not_answer_is_an_error_unless_it_may_be_passed_over(
    stack: Made, capsys: Output, observe: str, status: int
) -> None:
    stack(answer(base=[]), "refuse", observe=observe)
    assert main(["--json"]) == status
    said = capsys.readouterr()
    why = "ssh: connect to host s2 port 22: Connection refused"
    document = json.loads(said.out)
    assert (document["found"], document["silent"]) == ({"s1": {}}, {"s2": why})
    assert said.err == f"s2: not looked at: {why}\n"


def test_what_cannot_be_told_is_an_error(stack: Made, capsys: Output) -> None:
    stack(answer(), observe="maybe")
    assert main([]) == 1
    assert "error: jarvis:observe is 'maybe'" in capsys.readouterr().err
    folder = stack(answer(), deployed=False)
    assert main([]) == 1
    assert "no finished `pulumi up` has deployed the configuration of" in capsys.readouterr().err
    (folder / "config.json").write_text("{}")
    assert main([]) == 1
    assert "has no jarvis:environment" in capsys.readouterr().err
    (folder / "stack.json").unlink()
    assert main([]) == 1
    assert capsys.readouterr().err == "error: pulumi stack: error: no stack named 'gone' found\n"


def test_what_is_found_in_keystone_is_told_beside_the_servers(
    stack: Made, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences: list[str] = []

    async def look() -> Looked:
        return Looked(found={KEYSTONE: {"glance-register": sentences}})

    monkeypatch.setattr("jarvis.drift.__main__.keystone_source", lambda *_: Source(name=KEYSTONE, look=look))
    stack(answer(base=[]))
    assert main([]) == 0
    assert capsys.readouterr().out == "all is as it was deployed: 1 server, Keystone\n"
    sentences.append("user glance: disabled")
    assert main([]) == 2
    assert capsys.readouterr().out == "Keystone: glance-register: user glance: disabled\n"
    assert main(["--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "found": {"s1": {}, "Keystone": {"glance-register": ["user glance: disabled"]}},
        "silent": {},
    }


@pytest.mark.parametrize(("observe", "status"), [("", 1), ("lenient", 0)])
def test_a_keystone_that_does_not_answer_is_an_error_unless_it_may_be_passed_over(
    stack: Made, capsys: Output, observe: str, status: int
) -> None:
    # The server answers, and not with what Keystone says.
    stack(answer(base=[]), observe=observe, registered=RECORD)
    assert main(["--json"]) == status
    said = capsys.readouterr()
    why = "an answer without 'answers'"
    assert json.loads(said.out) == {"found": {"s1": {}}, "silent": {"Keystone": why}}
    assert said.err == f"Keystone: what Jarvis made there was not looked at: {why}\n"
    assert "s3cret" not in said.out + said.err
