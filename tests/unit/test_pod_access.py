"""The CNI plugin that notes which namespace's pod has which address."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.fakes import Commands

RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.244.0.9/24", "gateway": "10.244.0.1"}]}
SETS = """\
table ip other {
\tset openstack {
\t}
}
table inet jarvis-access {
\tset openstack {
\t}
\tset gateway {
\t}
}
"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    (tmp_path / "run").mkdir()
    made = Commands(tmp_path / "bin")
    (made.folder / "sets").write_text(SETS)
    made.add("nft", f'[ "$1" != list ] || cat "{made.folder}/sets"; [ "$1" != delete ]')
    return made


def _call(commands: Commands, root: Path, verb: str, namespace: str) -> subprocess.CompletedProcess[str]:
    config = {"cniVersion": "1.0.0", "type": "jarvis-access", "prevResult": RESULT}
    words = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=one"
    return commands.run(
        "kubernetes/pod-access.sh",
        root=root,
        stdin=json.dumps(config),
        CNI_COMMAND=verb,
        CNI_CONTAINERID="abc",
        CNI_ARGS=words,
    )


def _changes(commands: Commands) -> list[str]:
    return [call for call in commands.calls("nft") if not call.startswith("nft list")]


FORGOTTEN = [
    f"nft delete element inet jarvis-access {each} {{ 10.244.0.9 }}" for each in ("openstack", "gateway")
]


def test_a_new_pod_is_noted_and_the_result_passed_on(commands: Commands, tmp_path: Path) -> None:
    done = _call(commands, tmp_path, "ADD", "openstack")
    assert json.loads(done.stdout) == RESULT
    # Whoever had the address before is forgotten first.
    assert _changes(commands) == [*FORGOTTEN, "nft add element inet jarvis-access openstack { 10.244.0.9 }"]


def test_a_pod_of_another_namespace_is_not_noted(commands: Commands, tmp_path: Path) -> None:
    assert json.loads(_call(commands, tmp_path, "ADD", "default").stdout) == RESULT
    assert _changes(commands) == FORGOTTEN


def _lease(root: Path, sandbox: str) -> None:
    leases = root / "run/cni/networks/jarvis"
    leases.mkdir(parents=True)
    (leases / "10.244.0.9").write_text(f"{sandbox}\r\neth0")
    (leases / "last_reserved_ip.0").write_text("10.244.0.9")


@pytest.mark.parametrize("held", [True, False], ids=["its lease is there", "its lease is gone"])
def test_a_pod_that_goes_is_forgotten(commands: Commands, tmp_path: Path, held: bool) -> None:
    if held:
        _lease(tmp_path, "abc")
    done = _call(commands, tmp_path, "DEL", "openstack")
    assert (done.returncode, done.stdout) == (0, "")
    assert _changes(commands) == FORGOTTEN


def test_a_pod_that_has_the_address_of_one_from_before_the_power_went_stays_noted(
    commands: Commands, tmp_path: Path
) -> None:
    """kubelet ends the sandboxes of before only minutes later."""
    _lease(tmp_path, "another")
    done = _call(commands, tmp_path, "DEL", "openstack")
    assert (done.returncode, done.stdout) == (0, "")
    assert _changes(commands) == []


def test_pods_that_are_there_already_are_found(commands: Commands, tmp_path: Path) -> None:
    _lease(tmp_path, "abc")
    commands.say("ctr", json.dumps({"Labels": {"io.kubernetes.pod.namespace": "gateway"}}))
    rules = tmp_path / "access.nft"
    rules.write_text("add set inet jarvis-access gateway { type ipv4_addr; }\n")
    done = commands.run("kubernetes/pod-access.sh", "list", str(rules), root=tmp_path)
    assert done.stdout == "add element inet jarvis-access gateway { 10.244.0.9 }\n", done.stderr
    assert commands.calls("ctr")[-1] == "ctr --namespace k8s.io containers info abc"
    commands.say("ctr", json.dumps({"Labels": {"io.kubernetes.pod.namespace": "default"}}))
    assert commands.run("kubernetes/pod-access.sh", "list", str(rules), root=tmp_path).stdout == ""
