"""The CIS benchmark's list, and what of it can be seen in what the program declares, without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from jarvis.config import Environment
from jarvis.etcd.unit import flags as etcd_flags
from jarvis.kubernetes.control_plane import apiserver_flags, controller_manager_flags, scheduler_flags
from jarvis.kubernetes.node import kube_proxy_config, kubelet_config
from tests.audits import cis
from tests.audits.cis import Control, controls, markdown, problems, wrong
from tests.golden.test_golden import PROJECT, environment_of, graph_of
from tests.unit.harness import Graph

DOCUMENT = PROJECT / "docs" / "audits.md"
FILES = PROJECT / "jarvis" / "kubernetes"
# How many controls each section of the benchmark 1.12 has.
SECTIONS = {
    "1.1": 21, "1.2": 30, "1.3": 7, "1.4": 2, "2": 7, "3.1": 3, "3.2": 2, "4.1": 10, "4.2": 14, "4.3": 1,
    "5.1": 13, "5.2": 12, "5.3": 2, "5.4": 2, "5.5": 1, "5.6": 4,
}  # fmt: skip
ENTRY = re.compile(r"^(?:file|script) (0[0-7]{3}) (\S+) (?:\S+ \S+ )?(/\S+)$", re.MULTILINE)
KINDS = {"clusterroles": "ClusterRole", "clusterrolebindings": "ClusterRoleBinding", "roles": "Role"}


class Declared:
    """What the program would deploy, with all that Kubernetes has by itself left out."""

    def __init__(self, env: Environment, graph: Graph) -> None:
        self._env = env
        self._made = [one for one in graph.resources.values() if one.kind.startswith("kubernetes:")]
        self._files = [
            (one.name, path, int(mode, 8), owner)
            for one in graph.resources.values()
            if one.kind == "command:remote:Command"
            for text in (one.inputs.get("create", ""), one.inputs.get("stdin", ""))
            for mode, owner, path in ENTRY.findall(text)
        ]
        assert len(self._files) > 100
        assert len(self._made) > 30

    def flags(self, program: str) -> Mapping[str, Mapping[str, str]]:
        env, server = self._env, self._env.servers[0]
        found = {
            "kube-apiserver": lambda: apiserver_flags(env, server, ["https://192.0.2.1:2379"], {}),
            "kube-controller-manager": lambda: controller_manager_flags(env, {}),
            "kube-scheduler": lambda: scheduler_flags(env, {}),
            "etcd": lambda: etcd_flags("one", "192.0.2.1", {}),
            "kubelet": lambda: {"hostname-override": server.name},
        }
        return {server.name: found[program]()}

    def config(self, name: str) -> Mapping[str, Any]:
        made: dict[str, Callable[[], Any]] = {
            "kubelet": lambda: kubelet_config(self._env, {}),
            "kube-proxy": lambda: kube_proxy_config(self._env, {}),
        }
        read = made.get(name, lambda: yaml.safe_load((FILES / f"{name}.yaml").read_text()))
        return {"one": read()}

    def files(self, pattern: str) -> Iterator[tuple[str, str, int, str]]:
        return (one for one in self._files if cis.matching(pattern, one[1]))

    def run(self, command: str) -> None:
        return None

    def objects(self, kind: str) -> Sequence[Mapping[str, Any]]:
        made = [one.inputs for one in self._made]
        if kind == "pods":
            return list(filter(None, map(pod, made)))
        return [one for one in made if one["kind"] == KINDS[kind]]


def pod(made: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod that an object makes, with the object's own name and namespace."""
    spec = made.get("spec", {})
    for name in ("jobTemplate", "spec", "template", "spec"):
        spec = spec.get(name, spec)
    return {"metadata": made["metadata"], "spec": spec} if "containers" in spec else None


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Declared:
    folder = tmp_path_factory.mktemp("dev")
    return Declared(environment_of("dev", folder), graph_of("dev", folder))


@cache
def known() -> list[Control]:
    return controls()


def test_every_control_of_the_benchmark_is_there_once() -> None:
    numbers = re.findall(r'^"([0-9.]+)":', cis.FILE.read_text(), re.MULTILINE)
    wanted = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]
    assert numbers == wanted
    assert [one.number for one in known()] == wanted


@pytest.mark.parametrize("control", known(), ids=lambda one: one.number)
def test_a_control_is_looked_at_or_explained(control: Control, declared: Declared) -> None:
    assert control.result in cis.RESULTS
    assert control.checks or control.result != "pass"
    assert control.why or control.result == "pass"
    assert list(problems(control, declared)) == []


def test_the_document_has_the_list() -> None:
    assert markdown(known()) in DOCUMENT.read_text(encoding="utf-8"), (
        "put the table that `python -m tests.audits controls` prints into docs/audits.md"
    )


@pytest.mark.parametrize(
    ("want", "good", "bad"),
    [
        ("set", "x", None),
        ("unset", None, "x"),
        ("is false", "false", "true"),
        ("is not true", None, "true"),
        ("has RBAC", "Node,RBAC", "Node"),
        ("lacks AlwaysAllow", None, "RBAC,AlwaysAllow"),
        ("at least 30", "100", "7"),
        ("strong ciphers", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ],
)
def test_a_want_holds_or_not(want: str, good: str | None, bad: str | None) -> None:
    assert not wrong(want, good)
    assert wrong(want, bad)


def test_a_want_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="perhaps"):
        wrong("perhaps", "x")


GOOD: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "one",
            "image": "registry/one@sha256:0",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
    ],
}
OWN = {"allowPrivilegeEscalation": True, "privileged": True, "runAsNonRoot": False, "windowsOptions": {}}
BAD: dict[str, Any] = {
    **dict.fromkeys(("hostPID", "hostIPC", "hostNetwork"), True),
    "volumes": [{"name": "root", "hostPath": {"path": "/"}}],
    "containers": [
        {
            "name": "one",
            "image": "one:latest",
            "ports": [{"hostPort": 80}],
            "securityContext": {**OWN, "capabilities": {"add": ["NET_RAW"]}},
        }
    ],
}


@pytest.mark.parametrize("rule", sorted(cis.PODS))
def test_a_rule_for_pods_tells_good_from_bad(rule: str) -> None:
    assert list(cis.PODS[rule]("own", GOOD)) == []
    assert list(cis.PODS[rule]("default", BAD)) != []


class Roles(Declared):
    """One role."""

    def __init__(self, rule: Mapping[str, Any], **labels: str) -> None:
        self._role = {"metadata": {"name": "one", "labels": labels}, "rules": [rule]}

    def objects(self, kind: str) -> Sequence[Mapping[str, Any]]:
        return [self._role] if kind == "roles" else []


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"resources": ["secrets"], "verbs": ["get"]}, ["5.1.2"]),
        ({"resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one"]}, []),
        ({"resources": ["services"], "verbs": ["list"]}, []),
        ({"resources": ["pods"], "verbs": ["create"]}, ["5.1.4"]),
        ({"resources": ["roles"], "verbs": ["bind"]}, ["5.1.8"]),
        ({"resources": ["services"], "verbs": ["*"]}, ["5.1.3", "5.1.8"]),
        ({"resources": ["*"], "verbs": ["patch"]}, ["5.1.3", "5.1.11", "5.1.12"]),
        ({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, []),
    ],
)
def test_what_a_role_grants_is_seen(rule: dict[str, Any], found: list[str]) -> None:
    judged = [one for one in known() if any("grants" in check for check in one.checks)]
    assert [one.number for one in judged if list(problems(one, Roles(rule)))] == found
    own = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert not any(list(problems(one, Roles(rule, **own))) for one in judged)


def test_a_fault_of_a_file_is_told(declared: Declared) -> None:
    check = {"files": "/etc/kubernetes/**/*.key", "mode": "400", "owner": "root:root"}
    told = list(problems(Control("0.0", "", "pass", [check], ""), declared))
    assert any("which is more than 400" in one for one in told)
    assert any("kubernetes:kubernetes, not of root:root" in one for one in told)
    none = Control("0.0", "", "pass", [{"files": "/etc/nothing"}], "")
    assert list(problems(none, declared)) == ["there is no file /etc/nothing"]


def test_a_check_of_no_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text(json.dumps({"1.1.1": {"title": "x", "flag": "y"}}))
    with pytest.raises(TypeError, match=r"1\.1\.1"):
        controls(file)
