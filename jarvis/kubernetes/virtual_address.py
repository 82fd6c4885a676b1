"""The address by which the outside reaches the API and the gateway, held by one server at a time."""

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
# Equal on all: an address then stays where it is when a server comes back, since VRRP moves it to a higher
# priority only (RFC 5798, section 6.4.2). A server whose gateway answers counts for more.
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
    """keepalived's configuration on ``server``, whose API (``api_port``) must be ready for it to hold the
    address, and whose gateway should be ready.

    ``virtual_addresses``: one, and a second while it changes. Holders tell each other the first alone, and
    hold the second beside it: keepalived does not listen to one that tells another list, so that several
    would hold the address until the last has changed.

    ``interface`` empty: ``%INTERFACE%`` stands there, and is replaced on the server by that of ``address``.
    ``patience``: how many times as long as on a usual server a check may take.
    """
    # keepalived gives its scripts no variables.
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
        # keepalived begins the next check whether the last has ended or not.
        interval=str(2 * patience),
        api_timeout=str(4 * patience),
        gateway_timeout=str(3 * patience),
        api_check=f"{factor}{READY} 127.0.0.1:{api_port}",
        gateway_check=f"{factor}{GATEWAY_READY} {address}:{gateway_port}",
    )


def _unicast(address: IPv4Address, peers: Sequence[IPv4Address]) -> str:
    """To whom VRRP speaks; a server that is alone has nobody (keepalived refuses an empty list)."""
    if not peers:
        return ""
    lines = "".join(f"    {peer}\n" for peer in peers)
    return f"  unicast_src_ip {address}\n  unicast_peer {{\n{lines}  }}\n"


def _beside(addresses: Sequence[IPv4Address]) -> str:
    """What is held and told nobody (keepalived.conf(5), virtual_ipaddress_excluded)."""
    if not addresses:
        return ""
    lines = "".join(f"    {address}/32\n" for address in addresses)
    return f"  virtual_ipaddress_excluded {{\n{lines}  }}\n"


@dataclass(frozen=True, kw_only=True)
class VirtualAddressArgs:
    """``holders``: every server that may hold the address, this ``host`` among them. ``api_port``: where the
    API answers on each. ``after``: what must be there first, such as the API server of this server."""

    host: Host
    env: Environment
    holders: Sequence[Server]
    api_port: int
    after: Sequence[pulumi.Resource] = ()


class VirtualAddress(HostService, once_in="kubernetes:VirtualAddress"):
    """keepalived on one server, speaking VRRP by unicast to the others. Ready when the address answers,
    whoever holds it; both, while it changes."""

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
