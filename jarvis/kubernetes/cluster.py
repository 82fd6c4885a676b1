"""A Kubernetes cluster on prepared servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.config import Environment, ServerRole
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.hosts import endpoint_names
from jarvis.kubernetes.access import Access, AccessArgs
from jarvis.kubernetes.control_plane import PORT, ControlPlaneServer, ControlPlaneServerArgs
from jarvis.kubernetes.dns import ClusterDns, ClusterDnsArgs
from jarvis.kubernetes.identity import Identities, IdentitiesArgs
from jarvis.kubernetes.kubeconfig import whole_kubeconfig
from jarvis.kubernetes.load_balancer import ApiServerProxy, ApiServerProxyArgs
from jarvis.kubernetes.lost import ForgottenNodes, ForgottenNodesArgs, lost_nodes
from jarvis.kubernetes.network import PodNetwork, PodNetworkArgs
from jarvis.kubernetes.node import Node, NodeArgs
from jarvis.kubernetes.taken_back import TakenBack
from jarvis.kubernetes.virtual_address import VirtualAddress, VirtualAddressArgs

if TYPE_CHECKING:
    from jarvis.etcd import EtcdCluster
    from jarvis.hosts import Host
    from jarvis.pki import Authority, Certificate


@dataclass(frozen=True, kw_only=True)
class KubernetesClusterArgs:
    """The servers of a cluster, and what it needs of them.

    Attributes:
        env: the environment.
        control_plane: servers with that role. Each is a node too.
        nodes: servers with the role worker. Servers that may hold the virtual address (role ``gateway``) are
            among them.
        etcd: the store of the cluster's objects.
        images: references of ``pause`` and ``coredns``.
        registry_authority: authority of the registry that nodes pull from.
        registry_client: certificate that nodes pull with.
        images_ready: resources after which the images can be pulled.
        aliases: names of the environment's domain that lead, in pods, to a name of the cluster's domain.
    """

    env: Environment
    control_plane: Sequence[Host]
    nodes: Sequence[Host]
    etcd: EtcdCluster
    images: Mapping[str, pulumi.Input[str]]
    registry_authority: Authority
    registry_client: Certificate
    images_ready: Sequence[pulumi.Resource] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


class KubernetesCluster(Component, token="kubernetes:Cluster"):
    """The control plane, the nodes, their network and DNS.

    Attributes:
        kubeconfig: the operators' kubeconfig, by the virtual address; secret. It works once ``access`` is
            there.
        provider: the stack's only Kubernetes provider. It uses an address that answers throughout this run,
            and an administrator who needs no right in the cluster, since it makes ``access`` itself.
        address: URL of the API.
        ready: resources after which pods can run and find each other by name.
    """

    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    address: str
    ready: list[pulumi.Resource]

    def __init__(
        self, name: str, args: KubernetesClusterArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        env = args.env
        self._name, self._args = name, args
        self.identities = Identities(name, IdentitiesArgs(env=env), self.child())
        # Roles of every node change on the first node alone, and on the others once that is ready.
        proxies: dict[str, ApiServerProxy] = {}
        networks: dict[str, PodNetwork] = {}
        for host in args.nodes:
            proxies[host.server.name] = self._proxy(host, env.first_alone(list(proxies.values())))
            networks[host.server.name] = PodNetwork(
                f"{host.server.name}-pod-network",
                PodNetworkArgs(host=host, env=env, after=env.first_alone(list(networks.values()))),
                self.child(),
            )
        self.control_plane = self._control_plane(proxies)
        self.nodes: list[Node] = []
        for host in args.nodes:
            after = [networks[host.server.name], proxies[host.server.name]]
            self.nodes.append(self._node(host, after, env.first_alone(self.nodes)))
        addresses = self._virtual_addresses(proxies)

        self.address = _url(env.networks.virtual_address)
        self.kubeconfig = self._kubeconfig("operator", self.identities.operator, self.address)
        self.provider = kubernetes.Provider(
            name,
            # Previews use it too. At a new address nobody answers before the end of the run that brings it,
            # so the provider follows in the next run.
            kubeconfig=self._kubeconfig("admin", self.identities.admin, _url(env.reach_address)),
            # The stack's only cluster for all of its life, whatever its address and authority.
            cluster_identifier=name,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
            # Adopts an object that a killed run made and did not record, and takes back a field that somebody
            # changed by hand.
            upsert_existing_objects=True,
            enable_patch_force=True,
            # The plugin checks once, at its start, whether the cluster answers, and a connection that breaks
            # fails an object. So it starts when no API server will change any more.
            opts=self.child(
                depends_on=[
                    *(server.apiserver_ready for server in self.control_plane),
                    *addresses.values(),
                    *self._forgotten(name, [*addresses.values(), *self.control_plane]),
                ]
            ),
        )
        objects.take_by(TakenBack(_url(env.reach_address), self.identities).take)
        self.access = Access(
            f"{name}-access",
            AccessArgs(provider=self.provider, operators=self.identities.operators),
            self.child(),
        )
        nodes = [each for node in self.nodes for each in node.ready]
        self.dns = ClusterDns(
            f"{name}-dns",
            ClusterDnsArgs(
                env=env,
                provider=self.provider,
                image=args.images["coredns"],
                names=[name for name in endpoint_names(env) if name not in args.aliases],
                aliases=args.aliases,
                after=[*nodes, *args.images_ready, self.control_plane[0].controllers_ready],
            ),
            self.child(),
        )
        self.ready = [*nodes, self.access, self.dns]
        self.register_outputs({"address": self.address})

    def _kubeconfig(self, user: str, pair: Certificate, address: str) -> pulumi.Output[str]:
        """The kubeconfig of ``user``, with the certificate ``pair``, for the API at ``address``; secret."""
        authority, cluster = self.identities.authority.certificate, self._args.env.name
        pems = pulumi.Output.all(authority, pair.chain, pair.key)
        return pulumi.Output.secret(
            pems.apply(lambda known: whole_kubeconfig(user, cluster, address, *known))
        )

    def _forgotten(self, name: str, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        """Removal of lost servers' nodes, where there are any.

        It comes after all API servers refuse them, and before any object that would wait for one.
        """
        nodes = lost_nodes(self._args.env)
        if not nodes:
            return []
        address = _url(self._args.env.reach_address)
        args = ForgottenNodesArgs(nodes=nodes, address=address, identities=self.identities)
        return [ForgottenNodes(f"{name}-lost", args, self.child(depends_on=after)).ready]

    def _proxy(self, host: Host, after: Sequence[ApiServerProxy]) -> ApiServerProxy:
        roles = host.server.roles
        outside = ServerRole.GATEWAY in roles and ServerRole.CONTROL_PLANE not in roles
        servers = [(one.server.name, f"{one.server.address}:{PORT}") for one in self._args.control_plane]
        return ApiServerProxy(
            f"{host.server.name}-apiserver-proxy",
            ApiServerProxyArgs(
                host=host,
                identities=self.identities,
                servers=servers,
                public_port=PORT if outside else None,
                after=after,
            ),
            self.child(),
        )

    def _control_plane(self, proxies: Mapping[str, ApiServerProxy]) -> list[ControlPlaneServer]:
        """The control plane, one server after the other: a change that breaks one never reaches the next.

        The chain costs little at a first deployment, since nodes wait for the first API server only.
        """
        args = self._args
        etcd_client = args.etcd.client(f"{self._name}-etcd-client")
        made: list[ControlPlaneServer] = []
        for host in args.control_plane:
            before = made[-1] if made else None
            made.append(
                ControlPlaneServer(
                    f"{host.server.name}-control-plane",
                    ControlPlaneServerArgs(
                        host=host,
                        env=args.env,
                        identities=self.identities,
                        peers=[str(o.server.address) for o in args.control_plane if o is not host],
                        etcd_endpoints=args.etcd.endpoints,
                        etcd_authority=args.etcd.authority.certificate,
                        etcd_client=etcd_client,
                        after_apiserver=[
                            *args.etcd.ready,
                            proxies[host.server.name],
                            *([before.apiserver_ready] if before else []),
                        ],
                        after_controllers=[before.controllers_ready] if before else [],
                    ),
                    self.child(),
                )
            )
        return made

    def _node(self, host: Host, after: Sequence[pulumi.Resource], first: Sequence[Node]) -> Node:
        args = self._args
        registries = sorted(
            args.env.with_role(ServerRole.REGISTRY), key=lambda server: server.name != host.server.name
        )
        return Node(
            f"{host.server.name}-node",
            NodeArgs(
                host=host,
                env=args.env,
                identities=self.identities,
                pause_image=args.images["pause"],
                registry_servers=[str(server.address) for server in registries],
                registry_authority=args.registry_authority.certificate,
                registry_client=args.registry_client,
                after=[each for node in first for each in node.ready],
                after_kubelet=[*after, self.control_plane[0].apiserver_ready],
            ),
            self.child(),
        )

    def _virtual_addresses(self, proxies: Mapping[str, ApiServerProxy]) -> dict[str, VirtualAddress]:
        """The virtual address' holders, by server."""
        args = self._args
        own = {
            host.server.name: one for host, one in zip(args.control_plane, self.control_plane, strict=True)
        }
        holders = [host for host in args.nodes if ServerRole.GATEWAY in host.server.roles]
        # A holder that announces another address is ignored by the others, and after four seconds one of them
        # holds all addresses as well. So all change at once, after the last API server.
        together = (
            [
                *(proxies[host.server.name] for host in holders),
                *(one.apiserver_ready for one in self.control_plane),
            ]
            if args.env.holders_change
            else []
        )
        made: dict[str, VirtualAddress] = {}
        for host in holders:
            first = [] if args.env.holders_change else args.env.first_alone(list(made.values()))
            made[host.server.name] = VirtualAddress(
                f"{host.server.name}-virtual-address",
                VirtualAddressArgs(
                    host=host,
                    env=args.env,
                    holders=[holder.server for holder in holders],
                    api_port=PORT,
                    after=[
                        proxies[host.server.name],
                        (own.get(host.server.name) or self.control_plane[0]).apiserver_ready,
                        *together,
                        *first,
                    ],
                ),
                self.child(),
            )
        return made


def _url(address: IPv4Address) -> str:
    """URL of the API at a virtual address."""
    return f"https://{address}:{PORT}"
