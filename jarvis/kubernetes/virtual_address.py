"""The virtual address of the API and the gateway, held by one server at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, Server
from jarvis.core.text import fill_beside, read_beside
from jarvis.kubernetes.load_balancer import READY
from jarvis.remote import File, HostService, HostServiceArgs
from jarvis.remote.script import read_file

if TYPE_CHECKING:
    from jarvis.hosts import Host

FOLDER = "/etc/kubernetes/virtual-address"
GATEWAY_READY = "/var/lib/jarvis/bin/gateway-ready"
# Equal on all servers: VRRP moves an address to a higher priority only (RFC 5798, section 6.4.2), so it stays
# where it is when a server comes back. A ready gateway adds to a server's priority.
PRIORITY = 100
GATEWAY_BONUS = 50


def keepalived_config(
    *,
    server: str,
    address: IPv4Address,
    interface: str,
    peers: Sequence[IPv4Address],
    virtual_addresses: Sequence[IPv4Address],
    router_id: int,
    api_port: int,
    gateway_port: int,
    patience: int = 1,
) -> str:
    """The configuration of keepalived on one server.

    The server can hold the address only while its API is ready, and is preferred while its gateway is.

    During a change there are two addresses. Holders announce the first alone and hold the second beside it:
    keepalived ignores a peer that announces another list, so several servers would hold the address until the
    last of them has changed.

    Args:
        server: name of the server.
        address: its own address.
        interface: interface of that address; empty for the placeholder ``%INTERFACE%``, which the server
            replaces.
        peers: addresses of the other holders.
        virtual_addresses: one, or two during a change.
        router_id: VRRP id.
        api_port: port of the API on the server.
        gateway_port: HTTPS port of the gateway on the server.
        patience: factor for the time that a check may take.
    """
    # keepalived passes no environment to its scripts.
    factor = f"/usr/bin/env JARVIS_PATIENCE_FACTOR={patience} " if patience > 1 else ""
    return fill_beside(
        __file__,
        "keepalived.conf",
        lines={"unicast": _unicast(address, peers), "beside": _beside(virtual_addresses[1:])},
        server=server,
        interface=interface or "%INTERFACE%",
        virtual_address=str(virtual_addresses[0]),
        router_id=str(router_id),
        priority=str(PRIORITY),
        bonus=str(GATEWAY_BONUS),
        # keepalived starts the next check even while the last one runs.
        interval=str(2 * patience),
        api_timeout=str(4 * patience),
        gateway_timeout=str(3 * patience),
        api_check=f"{factor}{READY} 127.0.0.1:{api_port}",
        gateway_check=f"{factor}{GATEWAY_READY} {address}:{gateway_port}",
    )


def _unicast(address: IPv4Address, peers: Sequence[IPv4Address]) -> str:
    """The unicast peers of VRRP; nothing for a lone server (keepalived refuses an empty list)."""
    if not peers:
        return ""
    lines = "".join(f"    {peer}\n" for peer in peers)
    return f"  unicast_src_ip {address}\n  unicast_peer {{\n{lines}  }}\n"


def _beside(addresses: Sequence[IPv4Address]) -> str:
    """Addresses that are held and not announced (keepalived.conf(5), virtual_ipaddress_excluded)."""
    if not addresses:
        return ""
    lines = "".join(f"    {address}/32\n" for address in addresses)
    return f"  virtual_ipaddress_excluded {{\n{lines}  }}\n"


@dataclass(frozen=True, kw_only=True)
class VirtualAddressArgs:
    """A holder of the virtual address.

    Attributes:
        host: the server.
        env: the environment.
        holders: every server that may hold the address, this one included.
        api_port: port of the API on each of them.
        after: resources to wait for, such as the API server of this server.
    """

    host: Host
    env: Environment
    holders: Sequence[Server]
    api_port: int
    after: Sequence[pulumi.Resource] = ()


class VirtualAddress(HostService):
    """keepalived on one server, which speaks VRRP by unicast to the other holders.

    It is ready when the address answers, whoever holds it; during a change, when both do.
    """

    def __init__(
        self, name: str, args: VirtualAddressArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        env, server = args.env, args.host.server
        config = keepalived_config(
            server=server.name,
            address=server.address,
            interface=server.interface,
            peers=[holder.address for holder in args.holders if holder.name != server.name],
            virtual_addresses=env.held_addresses,
            router_id=env.networks.virtual_router_id,
            api_port=args.api_port,
            gateway_port=env.gateway.https_port,
            patience=env.patience,
        )
        super().__init__(
            name,
            "virtual-address",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(
                        path="/etc/systemd/system/jarvis-virtual-address.service",
                        content=read_beside(__file__, "virtual-address.service"),
                    ),
                    File(path=f"{FOLDER}/keepalived.conf", content=config),
                    File(path=f"{FOLDER}/address", content=str(server.address)),
                    File(path=GATEWAY_READY, content=read_file("kubernetes/gateway-ready.sh"), mode="0755"),
                    File(
                        path="/var/lib/jarvis/bin/virtual-address-config",
                        content=read_file("kubernetes/virtual-address-config.sh"),
                        mode="0755",
                    ),
                ],
                units=["jarvis-virtual-address.service"],
                ready=" && ".join(f"{READY} {one}:{args.api_port}" for one in env.held_addresses),
                reload=True,
            ),
            opts,
            depends_on=[args.host, *args.after],
        )
