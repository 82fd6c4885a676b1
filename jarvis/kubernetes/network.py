"""The pod network of one server: a bridge, addresses, and routes to the other servers' pods."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, Server, ServerRole
from jarvis.config.names import GATEWAY_NAMESPACE
from jarvis.core.text import fill_beside, read_beside
from jarvis.openstack.catalogue import PORTS
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.remote.script import read_file

if TYPE_CHECKING:
    from jarvis.hosts import Host

BRIDGE = "cni0"
FOLDER = "/etc/kubernetes/pod-network"
SCRIPT = "/var/lib/jarvis/bin/pod-network"
ACCESS = "/var/lib/jarvis/cni/jarvis-access"
# The HTTP gateway's port in its pods (jarvis.gateway.http).
GATEWAY_PORT = 8443
# The port of CoreDNS' pods (jarvis.kubernetes.dns).
DNS_PORT = 5353


def cni_config(pod_subnet: IPv4Network) -> str:
    """The CNI configuration list of a server whose pods have addresses of ``pod_subnet``.

    Addresses in use are remembered in /run: after a power cycle no pod is left that has one.
    """
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(pod_subnet)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni/networks",
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True, "backend": "nftables"}
    access = {"type": "jarvis-access"}
    return json.dumps(
        {"cniVersion": "1.0.0", "name": "jarvis", "plugins": [bridge, portmap, access]}, indent=2
    )


def pod_routes(env: Environment, server: Server) -> list[tuple[IPv4Network, IPv4Address]]:
    """Pod networks of the servers other than ``server``, each with the address that it is reached by."""
    return [(env.pod_subnet(other), other.address) for other in env.present if other.name != server.name]


def routes_file(env: Environment, server: Server) -> str:
    """The routes of ``server``, in the form that ``pod-network.sh`` reads.

    The services' network has one as well: kube-proxy translates a Service's address only after a route for it
    was found, which a server without a default route would lack.
    """
    lines = [f"{subnet} via {address}\n" for subnet, address in pod_routes(env, server)]
    own = f"{env.pod_subnet(server)} here\n"
    return "".join([*lines, own, f"{env.networks.services} from {server.address}\n"])


def masquerade_rules(env: Environment) -> str:
    """Rules of nftables that masquerade pods' traffic to destinations without a route back to pods.

    The servers have such routes, and see the pods' own addresses.
    """
    networks = env.networks
    inside = [networks.pods, *env.held_addresses, *(server.address for server in env.servers)]
    return fill_beside(
        __file__, "pod-network.nft", pods=str(networks.pods), inside=", ".join(str(one) for one in inside)
    )


def access_rules(env: Environment, server: Server) -> str:
    """Rules of nftables for what the pods of ``server`` may reach (docs/decisions/018-network-access.md)."""

    def having(role: ServerRole) -> str:
        return ", ".join(str(one.address) for one in env.with_role(role))

    return fill_beside(
        __file__,
        "pod-access.nft",
        openstack=env.openstack.namespace,
        gateway=GATEWAY_NAMESPACE,
        local=str(env.pod_subnet(server)),
        pods=str(env.networks.pods),
        apis=", ".join(map(str, PORTS)),
        dns=str(DNS_PORT),
        https=str(GATEWAY_PORT),
        virtual_address=_either(env.held_addresses),
        public=str(env.gateway.https_port),
        storage=having(ServerRole.STORAGE),
        control_plane=having(ServerRole.CONTROL_PLANE),
    )


def _either(addresses: Sequence[IPv4Address]) -> str:
    """``addresses`` in nftables' form: one address, or a set."""
    one, *more = map(str, addresses)
    return f"{{ {', '.join([one, *more])} }}" if more else one


@dataclass(frozen=True, kw_only=True)
class PodNetworkArgs:
    """The pod network of one server.

    Attributes:
        host: the server.
        env: the environment, with the servers that it needs routes to.
        after: pod networks that change before this one.
    """

    host: Host
    env: Environment
    after: Sequence[pulumi.Resource] = ()


class PodNetwork(HostService):
    """CNI configuration, routes and address translation for one server's pods.

    The base role sets the kernel settings that it needs (`jarvis.hosts`). What pods may reach is limited by
    the server's nftables rules; NetworkPolicy objects have no effect.
    """

    def __init__(self, name: str, args: PodNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        env, server = args.env, args.host.server
        super().__init__(
            name,
            "pod-network",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    Directory(path="/etc/cni/net.d"),
                    File(
                        path="/etc/systemd/system/jarvis-pod-network.service",
                        content=read_beside(__file__, "pod-network.service"),
                    ),
                    # systemd-networkd, where a server has it, would otherwise remove routes that it did not
                    # make (networkd.conf(5)).
                    File(
                        path="/etc/systemd/networkd.conf.d/90-jarvis.conf",
                        content="[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n",
                    ),
                    File(path=SCRIPT, content=read_file("kubernetes/pod-network.sh"), mode="0755"),
                    File(
                        path=f"{FOLDER}/routes",
                        content=routes_file(env, server),
                    ),
                    File(path=f"{FOLDER}/rules.nft", content=masquerade_rules(env)),
                    File(path=f"{FOLDER}/access.nft", content=access_rules(env, server)),
                    File(path=ACCESS, content=read_file("kubernetes/pod-access.sh"), mode="0755"),
                    File(
                        path="/etc/cni/net.d/10-jarvis.conflist",
                        content=cni_config(env.pod_subnet(server)),
                    ),
                ],
                units=["jarvis-pod-network.service"],
                reload=True,
                undo=[f"{SCRIPT} down"],
            ),
            opts,
            depends_on=[args.host, *args.after],
        )
