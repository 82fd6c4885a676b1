"""In a stack that is deployed, what runs on every server changes on the first alone, before all others."""

from __future__ import annotations

from jarvis.config import Environment
from tests.unit.harness import Graph
from tests.unit.test_moved import REMOTE

# A look at a server, and the script that each role brings along, change nothing that runs.
QUIET = ("preflight", "apply")


def on_all(graph: Graph, production: Environment) -> list[str]:
    """What each server that is a node has one of, as the label of the first node's."""
    first, *others = [server.name for server in production.servers if "worker" in server.roles]
    labels = {label for label in graph.resources if label.startswith(REMOTE)}
    return sorted(
        label
        for label in labels
        if first in label
        and not label.endswith(QUIET)
        and all(label.replace(first, other) in labels for other in others)
    )


def test_at_a_first_deployment_no_server_waits_for_another(production: Environment, deployed: Graph) -> None:
    first, other = (server.name for server in production.servers[:2])
    for role in ("base", "release", "pod-network"):
        assert f"{REMOTE} {first}-{role}" not in deployed.before(f"{REMOTE} {other}-{role}")


def test_each_role_of_every_server_changes_on_the_first_alone(
    production: Environment, unchanged: Graph
) -> None:
    first, *others = [server.name for server in production.servers if "worker" in server.roles]
    labels = on_all(unchanged, production)
    names = {label.partition(" ")[2] for label in labels}
    roles = ("base", "release", "apiserver-proxy", "pod-network", "node-containerd", "node-kubelet")
    assert names >= {f"{first}-{role}" for role in (*roles, "node-kube-proxy")}
    assert f"link-{first}" in names
    for label in labels:
        for other in others:
            assert label in unchanged.before(label.replace(first, other)), (label, other)


def test_a_node_changes_nothing_before_the_first_is_ready(production: Environment, unchanged: Graph) -> None:
    first, *others = [server.name for server in production.servers if "worker" in server.roles]
    for other in others:
        before = unchanged.before(f"{REMOTE} {other}-node-containerd")
        assert {f"{REMOTE} {first}-node-kubelet", f"{REMOTE} {first}-node-kube-proxy"} <= before


def test_each_holder_of_the_address_waits_for_the_first(production: Environment, unchanged: Graph) -> None:
    first, *others = [server.name for server in production.servers if "gateway" in server.roles]
    for other in others:
        assert f"{REMOTE} {first}-virtual-address" in unchanged.before(f"{REMOTE} {other}-virtual-address")
