"""What of a cluster waits for what, what is secret, and what a change touches."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest

from jarvis.config import Environment, ServerRole
from jarvis.config.artifacts import Release
from jarvis.etcd import EtcdCluster, EtcdClusterArgs
from jarvis.hosts import Host, HostArgs, Preflight, PreflightArgs
from jarvis.kubernetes import KubernetesCluster, KubernetesClusterArgs
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs
from jarvis.pki.period import period, renewal
from tests.unit.harness import PRIVATE, Graph, Registered, record
from tests.unit.test_kubernetes_text import environment

REMOTE = "command:remote:Command"
BINDING = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding kubernetes-access-operators"


def cluster(env: Environment) -> Graph:
    """The graph of a whole cluster on the servers of ``env``."""

    def program() -> None:
        preflight = Preflight("preflight", PreflightArgs(env=env))
        release = Release(path="/dev/null", sha256="0" * 64, size=0, versions={})
        hosts = [
            Host(server.name, HostArgs(server=server, env=env, release=release, preflight=preflight))
            for server in env.servers
        ]
        images = Authority("images", AuthorityArgs(common_name="images"))
        KubernetesCluster(
            "kubernetes",
            KubernetesClusterArgs(
                env=env,
                control_plane=[host for host in hosts if ServerRole.CONTROL_PLANE in host.server.roles],
                nodes=[host for host in hosts if ServerRole.WORKER in host.server.roles],
                etcd=EtcdCluster("etcd", EtcdClusterArgs(hosts=hosts, env=env)),
                images={name: f"registry/{name}@sha256:0" for name in ("pause", "coredns")},
                registry_authority=images,
                registry_client=Certificate(
                    "registry-client", CertificateArgs(authority=images, common_name="node")
                ),
            ),
        )

    return record(program)


def remote(graph: Graph) -> dict[str, Registered]:
    """The commands on servers, by name."""
    return {one.name: one for one in graph.resources.values() if one.kind == REMOTE}


def before(graph: Graph, label: str) -> set[str]:
    """The names of all commands on servers that must have run before the resource ``label`` is made."""
    return {one.split(" ", 1)[1] for one in graph.before(label) if one.startswith(f"{REMOTE} ")}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return cluster(environment())


def changed(one: Graph, other: Graph) -> list[str]:
    """The names of the resources whose inputs differ, in order."""
    labels = {*one.resources, *other.resources}
    return sorted(
        label.split(" ", 1)[1]
        for label in labels
        if label not in one.resources
        or label not in other.resources
        or one.resources[label].inputs != other.resources[label].inputs
    )


def test_api_servers_change_one_after_the_other_and_so_do_controllers(graph: Graph) -> None:
    for part in ("apiserver", "controllers"):
        for number in (2, 3):
            assert f"s{number - 1}-control-plane-{part}" in before(
                graph, f"{REMOTE} s{number}-control-plane-{part}"
            )


def test_an_api_server_waits_for_etcd_and_for_the_means_to_ask_whether_it_is_ready(graph: Graph) -> None:
    found = before(graph, f"{REMOTE} s1-control-plane-apiserver")
    assert {"etcd-s1", "etcd-s2", "etcd-s3", "s1-apiserver-proxy", "s1-release"} <= found


def test_nodes_start_beside_the_second_and_third_api_server(graph: Graph) -> None:
    found = before(graph, f"{REMOTE} s3-node-kubelet")
    assert "s1-control-plane-apiserver" in found
    assert not {"s2-control-plane-apiserver", "s1-control-plane-controllers"} & found


def test_the_provider_starts_once_no_api_server_changes_any_more(graph: Graph) -> None:
    found = before(graph, "pulumi:providers:kubernetes kubernetes")
    assert {f"s{n}-control-plane-apiserver" for n in (1, 2, 3)} <= found
    assert "s1-virtual-address" in found


def test_the_provider_is_of_one_cluster_and_takes_up_what_a_killed_run_made(graph: Graph) -> None:
    inputs = graph.resources["pulumi:providers:kubernetes kubernetes"].inputs
    assert inputs["clusterIdentifier"] == "kubernetes"
    assert inputs["upsertExistingObjects"] == inputs["enablePatchForce"] == "true"


def test_dns_waits_for_every_node_to_be_ready(graph: Graph) -> None:
    found = before(graph, "kubernetes:apps/v1:DaemonSet kubernetes-dns-daemon-set")
    wanted = {f"s{number}-node-{part}" for number in (1, 2, 3) for part in ("kubelet", "kube-proxy")}
    assert wanted <= found


def test_a_node_asks_its_own_dns(graph: Graph) -> None:
    service = graph.resources["kubernetes:core/v1:Service kubernetes-dns-service"]
    assert service.inputs["spec"]["trafficDistribution"] == "PreferSameNode"


def test_private_keys_travel_by_stdin_alone_and_as_secrets(graph: Graph) -> None:
    found = 0
    for name, one in remote(graph).items():
        for key, value in one.inputs.items():
            # The connection's key is that of SSH, which the plugin keeps as a secret itself.
            assert key in ("stdin", "connection") or PRIVATE not in json.dumps(value), (name, key)
        if PRIVATE in json.dumps(one.inputs.get("stdin", "")):
            found += 1
            assert "stdin" in one.secrets, name
            assert one.inputs["logging"] == "none", name
    # etcd, API server, controllers, proxy, containerd, kubelet and kube-proxy of three servers
    assert found == 21


def test_the_kubeconfig_is_a_secret_of_the_provider(graph: Graph) -> None:
    provider = graph.resources["pulumi:providers:kubernetes kubernetes"]
    assert "kubeconfig" in provider.secrets


def subject(graph: Graph, name: str) -> tuple[str, list[str], int]:
    """User, groups and days of the client ``name``."""
    request = json.loads(graph.resources[f"command:local:Command kubernetes-{name}"].inputs["stdin"])
    return request["common_name"], request["organizations"], request.get("days", 365)


def test_an_operators_certificate_is_short_lived_and_of_a_group_whose_right_can_be_taken(
    graph: Graph,
) -> None:
    assert subject(graph, "operator") == ("jarvis:operator", ["jarvis:operators"], 30)
    assert subject(graph, "admin") == ("jarvis:admin", ["system:masters"], 365)
    masters = [
        one.name
        for one in graph.resources.values()
        if "system:masters" in str(one.inputs.get("stdin", "")) and one.kind == "command:local:Command"
    ]
    assert masters == ["kubernetes-admin"]
    [bound] = graph.resources[BINDING].inputs["subjects"]
    assert (bound["kind"], bound["name"]) == ("Group", "jarvis:operators")


def test_a_rotation_takes_the_right_from_the_certificates_of_before(graph: Graph) -> None:
    env = environment()
    turned = cluster(env.model_copy(update={"rotations": {"kubernetes-operator": 2}}))
    assert changed(graph, turned) == ["kubernetes-access-operators", "kubernetes-operator"]
    [bound] = turned.resources[BINDING].inputs["subjects"]
    assert subject(turned, "operator") == ("jarvis:operator", [bound["name"]], 30)
    assert bound["name"] == "jarvis:operators:2"


def test_a_renewal_of_the_operators_certificate_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2026, 11, 1) + timedelta(days=number) for number in range(renewal(30) + 1)]
    due = {day: period("kubernetes-operator", renewal(30), day) for day in days}
    [before, after] = next(pair for pair in pairwise(days) if due[pair[0]] != due[pair[1]])
    graphs = []
    for day in (before, after):
        monkeypatch.setenv("JARVIS_TODAY", day.isoformat())
        graphs.append(cluster(environment()))
    assert changed(*graphs) == ["kubernetes-operator"]


def test_no_authoritys_key_reaches_a_server(graph: Graph) -> None:
    for name, one in remote(graph).items():
        for authority in ("kubernetes-ca", "kubernetes-front-proxy-ca", "images", "etcd-authority"):
            assert f"{PRIVATE}{authority}-" not in json.dumps(one.inputs), name


def test_a_server_needs_eight_connections_for_kubernetes(graph: Graph) -> None:
    parts = [name for name in remote(graph) if name.startswith("s1-")]
    own = [
        name for name in parts if not name.startswith(("s1-apply", "s1-base", "s1-release", "s1-preflight"))
    ]
    assert len(own) == 8, own


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ({"apiserver_flags": {"v": 4}}, "control-plane-apiserver"),
        ({"scheduler_flags": {"v": 4}}, "control-plane-controllers"),
        ({"kubelet": {"maxPods": 50}}, "node-kubelet"),
        ({"kube_proxy": {"logging": {"verbosity": 4}}}, "node-kube-proxy"),
        ({"containerd_restrict_oom_score_adj": True}, "node-containerd"),
    ],
)
def test_an_option_changes_the_part_that_it_belongs_to_and_nothing_else(
    graph: Graph, option: dict[str, Any], part: str
) -> None:
    assert changed(graph, cluster(environment(**option))) == [f"s{number}-{part}" for number in (1, 2, 3)]
