"""Another virtual address in a stack that is deployed: what changes in each of two runs, in which order."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
import yaml

from jarvis.config import Environment, ServerRole
from jarvis.remote.local import COMMAND
from tests.unit.harness import Graph, Registered
from tests.unit.runs import after, graph_of

REMOTE = "command:remote:Command"
PROVIDER = "pulumi:providers:kubernetes kubernetes"
# The production example's, and another one of its network.
OLD, NEW = "192.0.2.100", "192.0.2.201"


@pytest.fixture(scope="module")
def moved(production: Environment) -> Environment:
    """The first run."""
    networks = production.networks.model_copy(update={"virtual_address": IPv4Address(NEW)})
    return after(production.model_copy(update={"networks": networks}), production)


@pytest.fixture(scope="module")
def first(moved: Environment) -> Graph:
    return graph_of(moved)


@pytest.fixture(scope="module")
def second(moved: Environment) -> Graph:
    return graph_of(after(moved, moved))


def changed(one: Graph, other: Graph) -> dict[str, Registered]:
    """The resources of ``other`` that have other inputs than in ``one``; there is none more or less."""
    assert one.resources.keys() == other.resources.keys()
    return {
        label: found
        for label, found in other.resources.items()
        if found.inputs != one.resources[label].inputs
    }


def names(found: dict[str, Registered], kind: str) -> set[str]:
    return {one.name for one in found.values() if one.kind == kind}


def test_an_unchanged_environment_has_the_resources_of_a_new_stack(deployed: Graph, unchanged: Graph) -> None:
    assert changed(deployed, unchanged) == {}
    for label, one in unchanged.resources.items():
        # The next run only waits for more: tests/unit/test_first_alone.py.
        assert one.depends >= deployed.resources[label].depends
        assert replace(one, depends=frozenset()) == replace(deployed.resources[label], depends=frozenset())


def test_each_run_changes_what_knows_the_address_and_nothing_else(
    production: Environment, deployed: Graph, first: Graph, second: Graph
) -> None:
    control_plane = [one.name for one in production.with_role(ServerRole.CONTROL_PLANE)]
    holders = [one.name for one in production.with_role(ServerRole.GATEWAY)]
    workers = [one.name for one in production.with_role(ServerRole.WORKER)]
    certificates = {*(f"kubernetes-apiserver-{name}" for name in control_plane), "gateway-certificate"}
    on_servers = {
        *(f"{name}-control-plane-apiserver" for name in control_plane),
        *(f"{name}-virtual-address" for name in holders),
        *(f"{name}-pod-network" for name in workers),
    }
    one, two = changed(deployed, first), changed(first, second)
    assert names(one, REMOTE) == on_servers
    # Names in /etc/hosts lead to what was held before the run began.
    assert names(two, REMOTE) == on_servers | {f"{one.name}-base" for one in production.servers}
    for found in (one, two):
        assert {each.name for each in found.values() if each.kind == "command:local:Command"} == certificates

    # No Namespace, no Job, no Secret but the one of the gateway's certificate: names stay, and endpoints have
    # names.
    def objects(found: dict[str, Registered]) -> set[str]:
        return {label for label, each in found.items() if each.kind.startswith("kubernetes:")}

    gateway = {f"kubernetes:{kind} gateway" for kind in ("core/v1:ConfigMap", "apps/v1:DaemonSet")}
    gateway.add("kubernetes:core/v1:Secret gateway")
    dns = {
        "kubernetes:core/v1:ConfigMap kubernetes-dns-config",
        "kubernetes:apps/v1:DaemonSet kubernetes-dns-daemon-set",
    }
    assert objects(one) == gateway | dns
    assert objects(two) == gateway
    assert set(two) - set(one) == {PROVIDER} | {f"{REMOTE} {each.name}-base" for each in production.servers}
    assert PROVIDER not in one


def test_no_authority_and_no_key_is_asked_for_anew(deployed: Graph, first: Graph, second: Graph) -> None:
    def kinds(graph: Graph, found: dict[str, Registered]) -> set[str]:
        local = [one for one in found.values() if one.kind == "command:local:Command"]
        assert all(one.inputs["create"] == COMMAND for one in local)
        return {re.findall(r'"kind": ?"([a-z-]+)"', one.inputs["stdin"])[0] for one in local}

    assert kinds(first, changed(deployed, first)) == kinds(second, changed(first, second)) == {"certificate"}


def server_of(graph: Graph) -> str:
    [cluster] = yaml.safe_load(graph.resources[PROVIDER].inputs["kubeconfig"])["clusters"]
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"])
    return str(cluster["cluster"]["server"])


def test_the_program_speaks_by_an_address_that_was_held_before(
    deployed: Graph, first: Graph, second: Graph
) -> None:
    assert server_of(deployed) == server_of(first) == f"https://{OLD}:6443"
    assert server_of(second) == f"https://{NEW}:6443"
    # An update of the provider, and no other cluster.
    for graph in (deployed, first, second):
        assert graph.resources[PROVIDER].inputs["clusterIdentifier"] == "kubernetes"


def text(graph: Graph, label: str) -> str:
    one = graph.resources[label].inputs
    return f"{one.get('create', '')}{one.get('stdin', '')}{one.get('data', '')}"


def test_the_first_run_holds_both_and_the_second_the_new_one(
    deployed: Graph, first: Graph, second: Graph
) -> None:
    label = f"{REMOTE} rack1-a-virtual-address"
    told = "  virtual_ipaddress {\n|    %s/32\n|  }\n"
    beside = f"|  virtual_ipaddress_excluded {{\n|    {NEW}/32\n|  }}\n"
    ready = "/var/lib/jarvis/bin/apiserver-ready"
    assert told % OLD in text(deployed, label)
    # Told of the same address as by holders that have not changed yet, or they would hold it too.
    assert told % OLD + beside in text(first, label)
    assert told % NEW in text(second, label)
    assert "excluded" not in text(deployed, label) + text(second, label)
    assert f"\nready {ready} {OLD}:6443 && {ready} {NEW}:6443\n" in text(first, label)
    assert f"\nready {ready} {NEW}:6443\n" in text(second, label)
    assert OLD not in text(second, label)


def test_servers_answer_under_both_while_both_are_held(first: Graph, second: Graph) -> None:
    requests = [
        "command:local:Command kubernetes-apiserver-rack2-a",
        "command:local:Command gateway-certificate",
    ]
    for label in [*requests, "kubernetes:core/v1:ConfigMap gateway", f"{REMOTE} rack1-b-pod-network"]:
        assert OLD in text(first, label), label
        assert NEW in text(first, label), label
        assert OLD not in text(second, label), label
        assert NEW in text(second, label), label
    rules = text(first, f"{REMOTE} rack1-b-pod-network")
    assert f"ip daddr {{ {OLD}, {NEW} }} tcp dport 443 accept" in rules
    assert f"ip daddr {NEW} tcp dport 443 accept" in text(second, f"{REMOTE} rack1-b-pod-network")


def test_an_api_server_waits_for_what_answers_by_then(first: Graph, second: Graph) -> None:
    """Holders get the new address after it, so under that nobody answers yet in the first run."""
    label = f"{REMOTE} rack1-a-control-plane-apiserver"
    for graph, address in ((first, OLD), (second, NEW)):
        assert f"/var/lib/jarvis/bin/apiserver-serving {address}:6443\n" in text(graph, label)
        assert f"hand-over leave {address}:6443\n" in text(graph, label)


def test_names_lead_to_what_answers(first: Graph, second: Graph) -> None:
    hosts = (
        "".join(f" {name}.cloud.example.org" for name in ("api", "identity", "image", "placement", "compute"))
        + "\n"
    )
    assert f"|{OLD}{hosts}" in text(first, f"{REMOTE} rack1-b-base")
    assert f"|{NEW}{hosts}" in text(second, f"{REMOTE} rack1-b-base")
    # Pods are told once the address is held.
    config = "kubernetes:core/v1:ConfigMap kubernetes-dns-config"
    assert NEW in text(first, config)
    assert OLD not in text(first, config)


def test_holders_change_together_after_all_api_servers_and_before_any_object(
    deployed: Graph, first: Graph, second: Graph
) -> None:
    servers = {f"{REMOTE} rack{at}-a-control-plane-apiserver" for at in (1, 2, 3)}
    holders = {f"{REMOTE} rack{at}-a-virtual-address" for at in (1, 2, 3)}
    assert not servers <= deployed.before(f"{REMOTE} rack1-a-virtual-address")
    for graph in (first, second):
        for label in holders:
            assert servers <= graph.before(label)
            assert not holders & graph.before(label)
        assert holders <= graph.before(PROVIDER)
        for label, one in graph.resources.items():
            if one.kind.startswith("kubernetes:"):
                assert holders <= graph.before(label), label
