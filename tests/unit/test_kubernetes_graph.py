"""What of a cluster waits for what, what is secret, and what a change touches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks
from pulumi.runtime.stack import run_pulumi_func

from jarvis.config import Environment, Role
from jarvis.config.artifacts import Release
from jarvis.etcd import EtcdCluster, EtcdClusterArgs
from jarvis.hosts import Host, HostArgs, Preflight, PreflightArgs
from jarvis.kubernetes import KubernetesCluster, KubernetesClusterArgs
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs
from tests.unit.test_kubernetes_text import environment

PRIVATE = "-----BEGIN PRIVATE KEY----- of "
SECRET = "4dabf18193072939515e22adb298388d"
REMOTE = "command:remote:Command"


@dataclass
class Graph:
    """Resources by type and name: their inputs, and the URNs that they depend on."""

    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    depends: dict[str, set[str]] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        return [urn.rsplit("::", 1)[1] for urn in self.inputs if f"{kind}::" in urn]

    def urn(self, kind: str, name: str) -> str:
        [urn] = [u for u in self.inputs if u.endswith(f"{kind}::{name}")]
        return urn

    def remote(self) -> dict[str, dict[str, Any]]:
        return {name: self.inputs[self.urn(REMOTE, name)] for name in self.names(REMOTE)}

    def before(self, kind: str, name: str) -> set[str]:
        """The names of all remote commands that must have run before."""
        seen: set[str] = set()
        rest = [self.urn(kind, name)]
        while rest:
            for urn in self.depends.get(rest.pop(), set()) - seen:
                seen.add(urn)
                rest.append(urn)
        return {urn.rsplit("::", 1)[1] for urn in seen if f"{REMOTE}::" in urn}


def plain(value: Any) -> Any:
    """``value`` with the wrappers of secrets taken off."""
    if isinstance(value, Mapping):
        return plain(value["value"]) if SECRET in value else {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


class World(mocks.Mocks):
    """Answers as the plugins would, with secrets that can be told apart."""

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        return {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        inputs = dict(plain(args.inputs))
        if args.typ == "command:local:Command":
            request = json.loads(inputs.get("stdin") or "{}")
            key = PRIVATE + args.name
            made: dict[str, Any] = {
                "authority": {"certificate": f"certificate {args.name}", "key": key},
                "certificate": {"certificate": f"certificate {args.name}", "key": key},
                "keypair": {"private": key, "public": f"public {args.name}"},
            }
            kind = request.get("kind")
            inputs["stdout"] = json.dumps(made[kind]) if kind in made else key if kind else "1"
        elif args.typ == REMOTE:
            inputs["stdout"] = ""
        return f"{args.name}-id", inputs


def record(env: Environment) -> Graph:
    """The graph of a whole cluster on the servers of ``env``."""
    graph = Graph()

    class Recorder(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            response = super().RegisterResource(request)
            if request.type == "pulumi:pulumi:Stack":
                return response
            graph.inputs[response.urn] = MessageToDict(request.object)
            # A resource is not made before its parent is, which waits for what it depends on itself.
            graph.depends[response.urn] = {*request.dependencies, *filter(None, [request.parent])}
            return response

    def program() -> None:
        preflight = Preflight("preflight", PreflightArgs(env=env))
        release = Release(path="/dev/null", sha256="0" * 64, size=0, versions={})
        hosts = [
            Host(server.name, HostArgs(server=server, env=env, release=release, preflight=preflight))
            for server in env.servers
        ]
        registry = Authority("images", AuthorityArgs(common_name="images"))
        KubernetesCluster(
            "kubernetes",
            KubernetesClusterArgs(
                env=env,
                control_plane=[host for host in hosts if Role.CONTROL_PLANE in host.server.roles],
                nodes=[host for host in hosts if Role.WORKER in host.server.roles],
                etcd=EtcdCluster("etcd", EtcdClusterArgs(hosts=hosts, env=env)),
                images={name: f"registry/{name}@sha256:0" for name in ("pause", "coredns")},
                registry_authority=registry,
                registry_client=Certificate(
                    "registry-client", CertificateArgs(authority=registry, common_name="node")
                ),
            ),
        )

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    world = World()
    mocks.set_mocks(world, project="jarvis", stack="test", preview=False, monitor=Recorder(world))
    try:
        loop.run_until_complete(run_pulumi_func(program))
    finally:
        loop.close()
    return graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return record(environment())


def changed(one: Graph, other: Graph) -> list[str]:
    """The names of the resources that differ, in order."""
    return sorted(
        urn.rsplit("::", 1)[1]
        for urn in {*one.inputs, *other.inputs}
        if one.inputs.get(urn) != other.inputs.get(urn)
    )


def test_api_servers_change_one_after_the_other_and_so_do_controllers(graph: Graph) -> None:
    for part in ("apiserver", "controllers"):
        for number in (2, 3):
            assert f"s{number - 1}-control-plane-{part}" in graph.before(
                REMOTE, f"s{number}-control-plane-{part}"
            )


def test_an_api_server_waits_for_etcd_and_for_the_means_to_ask_whether_it_is_ready(graph: Graph) -> None:
    before = graph.before(REMOTE, "s1-control-plane-apiserver")
    assert {"etcd-s1", "etcd-s2", "etcd-s3", "s1-apiserver-proxy", "s1-release"} <= before


def test_nodes_start_beside_the_second_and_third_api_server(graph: Graph) -> None:
    before = graph.before(REMOTE, "s3-node-kubelet")
    assert "s1-control-plane-apiserver" in before
    assert not {"s2-control-plane-apiserver", "s1-control-plane-controllers"} & before


def test_objects_wait_for_the_virtual_address_of_every_server(graph: Graph) -> None:
    before = graph.before("pulumi:providers:kubernetes", "kubernetes")
    assert {f"s{number}-virtual-address" for number in (1, 2, 3)} <= before


def test_dns_waits_for_every_node_to_be_ready(graph: Graph) -> None:
    before = graph.before("kubernetes:apps/v1:Deployment", "kubernetes-dns-deployment")
    wanted = {f"s{number}-node-{part}" for number in (1, 2, 3) for part in ("kubelet", "kube-proxy")}
    assert wanted <= before


def test_private_keys_travel_by_stdin_alone_and_as_secrets(graph: Graph) -> None:
    found = 0
    for name, inputs in graph.remote().items():
        clear = {key: value for key, value in inputs.items() if key != "stdin"}
        assert PRIVATE not in json.dumps(clear), name
        if PRIVATE in json.dumps(inputs.get("stdin", "")):
            found += 1
            assert SECRET in inputs["stdin"], name
            assert inputs["logging"] == "none", name
    # etcd, API server, controllers, proxy, containerd, kubelet and kube-proxy of three servers
    assert found == 21


def test_the_kubeconfig_is_a_secret_of_the_provider(graph: Graph) -> None:
    provider = graph.inputs[graph.urn("pulumi:providers:kubernetes", "kubernetes")]
    assert SECRET in provider["kubeconfig"]


def test_no_authoritys_key_reaches_a_server(graph: Graph) -> None:
    for name, inputs in graph.remote().items():
        for authority in ("kubernetes-ca", "kubernetes-front-proxy-ca", "images", "etcd-authority"):
            assert f"{PRIVATE}{authority}-" not in json.dumps(inputs), name


def test_a_server_needs_eight_connections_for_kubernetes(graph: Graph) -> None:
    parts = [name for name in graph.remote() if name.startswith("s1-")]
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
    assert changed(graph, record(environment(**option))) == [f"s{number}-{part}" for number in (1, 2, 3)]
