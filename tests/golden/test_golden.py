"""The graph of each stack, reviewed by a person: any change of it shows in the diff of a golden file.

Write them anew with: make golden
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from jarvis.config import Artifacts, Environment, parse_environment
from jarvis.config.artifacts import Image, Release
from jarvis.config.load import with_host_keys
from jarvis.config.rotations import secret_names
from jarvis.core.text import read_beside
from jarvis.hosts import base
from jarvis.hosts.firewall import SSH_BURST
from jarvis.openstack.catalogue import CATALOGUE
from jarvis.remote.local import COMMAND
from stacks.cloud import IMAGES, build
from tests.golden.openapi import Api
from tests.unit.harness import Graph, Registered, record

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
STACKS = ("dev", "production")


@pytest.fixture(autouse=True)
def one_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generations of authorities are counted by date; the golden graphs are of this one."""
    monkeypatch.setenv("JARVIS_TODAY", "2026-11-23")


def artifacts() -> Artifacts:
    """Artifacts that no deployment could use, but a graph can be made of."""
    layout = PROJECT / "tests" / "unit" / "layout"
    return Artifacts(
        release=Release(
            path=str(layout / "options.json"),
            sha256="0" * 64,
            size=1,
            versions={"kubernetes": "1.37.2", "etcd": "3.6.16", "containerd": "2.4.2"},
        ),
        images={
            name: Image(path=str(layout), digest=f"sha256:{'1' * 64}", recipe=name)
            for name in [*IMAGES, "memcached", *(one.name for one in CATALOGUE)]
        },
    )


def environment_of(stack: str, folder: Path) -> Environment:
    document = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text())
    env = parse_environment(document["config"]["jarvis:environment"], stack)
    known_hosts = folder / ".jarvis/lab/jarvis/known_hosts"
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample"
    keys = [f"{server.address} {key}{at}\n" for at, server in enumerate(env.servers)]
    known_hosts.write_text("".join(keys))
    (known_hosts.parent / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    env = with_host_keys(env, stack, folder)
    return env.model_copy(update={"ssh": env.ssh.model_copy(update={"private_key_file": None})})


_GRAPHS: dict[str, Graph] = {}


def graph_of(stack: str, folder: Path) -> Graph:
    """The graph of the stack, made once for all tests, none of which changes it. ``folder`` is not in it."""
    if stack not in _GRAPHS:
        env = environment_of(stack, folder)
        _GRAPHS[stack] = record(lambda: build(env, artifacts()), stack)
    return _GRAPHS[stack]


@pytest.mark.parametrize("stack", STACKS)
def test_the_graph_is_the_reviewed_one(stack: str, tmp_path: Path) -> None:
    found = graph_of(stack, tmp_path).text()
    golden = HERE / f"{stack}.graph"
    if os.environ.get("JARVIS_GOLDEN") == "write":
        golden.write_text(found)
    assert found == golden.read_text(), "the graph has changed; if it should have: make golden"


SECRETS_HEAD = """\
# Every secret that the stack {stack} generates: where it is, and the digest of its request.
#
# A DIFF OF A LINE HERE RE-KEYS A CLOUD. A deployed stack makes a secret anew when its request changes, and
# when it moves without an alias: authorities, passwords and Ceph's fsid in one `up`, without the care of a
# rotation for those who still use the one before. Only lines of new secrets may be added. A field that a
# request gets goes into jarvis.pki.request.ADDED, and leaves the digests as they are. (A certificate is only
# renewed.)
"""


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_is_made_anew(stack: str, tmp_path: Path) -> None:
    lines = []
    for label, one in sorted(graph_of(stack, tmp_path).resources.items()):
        if one.kind == "command:local:Command" and one.inputs["create"] == COMMAND:
            digest = hashlib.sha256(one.inputs["stdin"].encode()).hexdigest()
            lines.append(f"{digest[:32]}  {one.parent} / {label.partition(' ')[2]}\n")
    found = SECRETS_HEAD.format(stack=stack) + "".join(lines)
    golden = HERE / f"{stack}.secrets"
    if os.environ.get("JARVIS_GOLDEN") == "write":
        golden.write_text(found)
    assert found == golden.read_text(), "a secret would be made anew; read the head of the golden file"


def files(graph: Graph) -> set[str]:
    """What pods may have mounted: every key of every ConfigMap and Secret."""
    kinds = ("kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:Secret")
    found = [one for one in graph.resources.values() if one.kind in kinds]
    return {f"{one.label}: {key}" for one in found for key in one.inputs.get("data", {})}


def test_no_rotation_takes_a_file_from_pods_that_still_run(tmp_path: Path) -> None:
    """kubelet changes what they have mounted within a minute, and they are replaced one by one after that."""
    env = environment_of("dev", tmp_path)
    turned = env.model_copy(update={"rotations": dict.fromkeys(secret_names(env), 1)})
    before, after = files(graph_of("dev", tmp_path)), files(record(lambda: build(turned, artifacts()), "dev"))
    assert before - after == set()
    assert {one.partition(": ")[2] for one in after - before} == {"ceph.client.glance.1.keyring"}


@pytest.mark.parametrize("stack", STACKS)
def test_each_remote_command_checks_the_host_key_and_ends_with_its_server(stack: str, tmp_path: Path) -> None:
    graph = graph_of(stack, tmp_path)
    remote = [one for one in graph.resources.values() if one.kind.startswith("command:remote:")]
    assert remote
    for one in remote:
        assert one.inputs["connection"]["hostKey"].startswith("ssh-ed25519 "), one.name
        assert one.inputs["connection"]["dialErrorLimit"], one.name
        assert one.delete_before_replace, one.name
        if one.kind.endswith("Command"):
            assert one.inputs["addPreviousOutputInEnv"] is False, one.name


def at_once(graph: Graph, labels: set[str]) -> int:
    """How many of ``labels`` may be at work at the same time: the most of which none waits for another.

    By Dilworth's theorem: their number, less the pairs of a largest matching of waiting and waited for.
    """
    waiting = {label: graph.before(label) & labels for label in labels}
    taken: dict[str, str] = {}

    def pairs(label: str, seen: set[str]) -> bool:
        for each in sorted(waiting[label] - seen):
            seen.add(each)
            if each not in taken or pairs(taken[each], seen):
                taken[each] = label
                return True
        return False

    return len(labels) - sum(pairs(label, set()) for label in sorted(labels))


@pytest.mark.parametrize("stack", STACKS)
def test_a_server_takes_all_connections_that_a_deployment_opens_at_once(stack: str, tmp_path: Path) -> None:
    """The official plugin opens one for each command, and by a bastion several operators are one source."""
    graph = graph_of(stack, tmp_path)
    by_server: dict[str, set[str]] = {}
    for label, one in graph.resources.items():
        if one.kind.startswith("command:remote:"):
            by_server.setdefault(one.inputs["connection"]["host"], set()).add(label)
    most = max(at_once(graph, labels) for labels in by_server.values())
    options = dict(
        line.split(" ", 1) for line in read_beside(base.__file__, "sshd.conf").splitlines() if line[0] != "#"
    )
    assert 2 * most <= int(options["PerSourceMaxStartups"]) < int(options["MaxStartups"].split(":")[0])
    assert most <= SSH_BURST


@pytest.mark.parametrize("stack", STACKS)
def test_objects_wait_until_no_api_server_changes_any_more(stack: str, tmp_path: Path) -> None:
    """The plugin looks once whether the cluster answers, when it is configured, and tries nothing twice."""
    graph = graph_of(stack, tmp_path)
    made = [label for label in graph.resources if label.startswith("kubernetes:")]
    last = {
        label for label in graph.resources if label.endswith(("-control-plane-apiserver", "-virtual-address"))
    }
    assert made
    assert len(last) >= 6
    [provider] = [label for label in graph.resources if label.startswith("pulumi:providers:kubernetes ")]
    assert last <= graph.before(provider)
    for label in made:
        assert last <= graph.before(label), label


@pytest.mark.parametrize("stack", STACKS)
def test_the_gateway_alone_speaks_with_the_api_while_it_moves_the_virtual_address(
    stack: str, tmp_path: Path
) -> None:
    graph = graph_of(stack, tmp_path)
    gateway = "kubernetes:apps/v1:DaemonSet gateway"
    before = graph.before(gateway)
    own = ("jarvis:gateway:HttpGateway gateway", gateway)
    for label, one in graph.resources.items():
        if label.startswith("kubernetes:") and one.parent not in own and label not in before:
            assert gateway in graph.before(label), label


OBJECTS = HERE / "objects.yaml"
_HEAD = """\
# Every object of Kubernetes that Jarvis makes in a stack, with the URNs under which stacks have it or had it.
# An object that is there already is taken up by the resource that would make it, and a resource that is gone
# takes its object with it: so a renamed resource without an alias DELETES what it has just taken up. A URN
# that was here stays here, and the test asks for an alias that leads from it. Written anew by: make golden
"""


def identity(one: Registered) -> str:
    """Which object of the cluster a resource is."""
    metadata = one.inputs["metadata"]
    where = "/".join(each for each in (metadata.get("namespace"), metadata["name"]) if each)
    return f"{one.inputs['apiVersion']} {one.inputs['kind']} {where}"


@pytest.mark.parametrize("stack", STACKS)
def test_a_renamed_resource_keeps_its_object(stack: str, tmp_path: Path) -> None:
    graph = graph_of(stack, tmp_path)
    objects = {identity(one): one for one in graph.resources.values() if one.kind.startswith("kubernetes:")}
    recorded = yaml.safe_load(OBJECTS.read_text()) if OBJECTS.exists() else {}
    known: dict[str, list[str]] = recorded.get(stack, {})
    if os.environ.get("JARVIS_GOLDEN") == "write":
        known = {
            name: list(dict.fromkeys([*known.get(name, []), one.urn]))
            for name, one in sorted(objects.items())
        }
        OBJECTS.write_text(_HEAD + yaml.safe_dump({**recorded, stack: known}, width=1000))
    assert known.keys() == objects.keys(), "objects came or went; if they should have: make golden"
    for name, urns in known.items():
        one = objects[name]
        assert urns[-1] == one.urn, f"{name}: the resource has another URN; if it should have: make golden"
        lost = [urn for urn in urns[:-1] if urn not in one.former]
        assert not lost, (
            f"{name} would be deleted in a stack that has it as {lost}: give {one.label} an alias"
        )


@pytest.mark.parametrize("stack", STACKS)
def test_the_pinned_api_server_knows_every_field_of_every_object(stack: str, tmp_path: Path) -> None:
    """Its OpenAPI document does; a field that it does not know it would refuse, or drop without a word."""
    api = Api.pinned()
    made = [one for one in graph_of(stack, tmp_path).resources.values() if one.kind.startswith("kubernetes:")]
    assert len(made) > 50
    wrong = [f"{one.label}: {each}" for one in made for each in api.mistakes(one.inputs)]
    # The plugin takes the kind from the type of the resource, the API from the object.
    wrong += [f"{one.label}: is {identity(one)}" for one in made if one.kind != token(one.inputs)]
    assert wrong == []


def token(made: Mapping[str, str]) -> str:
    """The type of the resource that makes an object."""
    version = made["apiVersion"] if "/" in made["apiVersion"] else f"core/{made['apiVersion']}"
    return f"kubernetes:{version}:{made['kind']}"


def pods(one: Registered) -> list[dict[str, Any]]:
    """The pods that an object of the cluster makes."""
    spec = one.inputs.get("spec", {})
    for name in ("jobTemplate", "spec", "template", "spec"):
        spec = spec.get(name, spec)
    return [spec] if "containers" in spec else []


@pytest.mark.parametrize("stack", STACKS)
def test_each_pod_asks_for_the_runtimes_seccomp_profile_itself(stack: str, tmp_path: Path) -> None:
    """So the kubelet's default for those that ask for none (seccompDefault) changes nothing for them."""
    found = 0
    for one in graph_of(stack, tmp_path).resources.values():
        for pod in pods(one) if one.kind.startswith("kubernetes:") else []:
            found += 1
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, one.label
    assert found >= 10


@pytest.mark.parametrize("stack", STACKS)
def test_no_private_key_or_password_stands_in_the_open(stack: str, tmp_path: Path) -> None:
    graph = graph_of(stack, tmp_path)
    holders = 0
    for one in graph.resources.values():
        for path, value in flat(one.inputs):
            if "PRIVATE KEY" in str(value):
                holders += 1
                assert any(path == secret or path.startswith(f"{secret}.") for secret in one.secrets), (
                    f"{one.label}: {path} has a secret in the open"
                )
    assert holders > 20


def flat(value: object, path: str = "") -> list[tuple[str, object]]:
    """Each leaf of ``value`` with its path."""
    if isinstance(value, dict):
        return [leaf for k, each in value.items() for leaf in flat(each, f"{path}.{k}" if path else k)]
    if isinstance(value, list):
        return [leaf for at, each in enumerate(value) for leaf in flat(each, f"{path}[{at}]")]
    return [(path, value)]


class Asked(dict[str, int]):
    """Counters that remember what they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]  # no counter is None
        self.names.add(name)
        return default


@pytest.mark.parametrize("stack", STACKS)
def test_the_counters_that_may_stand_in_an_environment_are_those_that_components_ask_for(
    stack: str, tmp_path: Path
) -> None:
    asked = Asked()
    env = environment_of(stack, tmp_path).model_copy(update={"rotations": asked})
    record(lambda: build(env, artifacts()), stack)
    assert sorted(asked.names) == sorted(secret_names(env))
