"""One member of an etcd cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from jarvis.config.types import Option
from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.etcd import unit
from jarvis.hosts import Host
from jarvis.pki import Authority, Certificate, CertificateArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs, Target
from jarvis.remote.script import read_file

# Seconds. A start reads the database and catches up; `settle` and the gate ask every member.
_TIMEOUT = 120


@dataclass(frozen=True, kw_only=True)
class EtcdMemberArgs:
    """A member and its place in the cluster.

    Attributes:
        host: the server.
        others: addresses of the other members.
        index: place among all members, from 0; the first one bootstraps the cluster.
        authority: signs members and clients.
        flags: flags of etcd beyond Jarvis' own.
        lost: addresses of members whose servers are gone for good, to be removed from the cluster.
        rotation: counter of the member's certificate.
        after: resources to wait for, such as the member before.
    """

    host: Host
    others: Sequence[str]
    index: int
    authority: Authority
    flags: Mapping[str, Option]
    lost: Sequence[str] = ()
    rotation: int = 0
    after: Sequence[pulumi.Resource] = ()


class EtcdMember(Component, token="etcd:Member"):
    """A member of etcd on one server, restarted only while all other members are healthy.

    Peers and clients authenticate by mutual TLS. A server without data joins the cluster of the others as a
    learner; the first member bootstraps one where there is none. Deleting the resource removes the member
    from the cluster.

    Attributes:
        endpoint: URL for clients.
    """

    endpoint: str

    def __init__(self, name: str, args: EtcdMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        server = args.host.server
        address = str(server.address)
        self.endpoint = unit.client_url(address)
        certificate = Certificate(
            name,
            CertificateArgs(
                authority=args.authority,
                common_name=unit.MEMBER_NAME,
                dns_names=[server.name, "localhost"],
                addresses=[address, "127.0.0.1"],
                server=True,
                rotation=args.rotation,
            ),
            self.child(),
        )
        HostService(
            name,
            "etcd",
            service(
                target=args.host.target,
                name=server.name,
                address=address,
                args=args,
                release=args.host.release,
                certificate=certificate.certificate,
                key=certificate.key,
            ),
            self.child(
                depends_on=[args.host, *args.after],
                protect=guard(name, f"the member of etcd on {server.name}, with its data", server.name),
            ),
        )
        self.register_outputs({"endpoint": self.endpoint})


def service(
    *,
    target: Target,
    name: str,
    address: str,
    args: EtcdMemberArgs,
    release: str,
    certificate: pulumi.Input[str],
    key: pulumi.Input[str],
) -> HostServiceArgs:
    """The host role ``etcd`` of one server.

    Args:
        target: the server.
        name: its name, which is the member's too.
        address: its IP address.
        args: the member.
        release: digest of the host release that etcd runs from.
        certificate: the member's certificate in PEM.
        key: its private key in PEM.
    """
    others = ",".join(map(unit.client_url, args.others)) or "-"
    first = "yes" if args.index == 0 else "no"
    return HostServiceArgs(
        target=target,
        files=[
            Directory(path=unit.CONFIG),
            File(path=unit.TOOL, content=read_file("etcd.sh"), mode="0755"),
            File(path=unit.AUTHORITY, content=args.authority.certificate),
            File(path=unit.CERTIFICATE, content=certificate),
            File(path=f"{unit.CONFIG}/etcdctl.env", content=unit.client_environment(address)),
            File(
                path="/etc/systemd/system/etcd.service",
                content=unit.service(unit.flags(name, address, args.flags)),
            ),
            File(path="/etc/systemd/system/etcd-defrag.service", content=unit.defrag_service()),
            File(path="/etc/systemd/system/etcd-defrag.timer", content=unit.defrag_timer(args.index)),
        ],
        secret_files=[File(path=unit.KEY, content=key, mode="0400", owner="etcd:etcd")],
        units=["etcd.service", "etcd-defrag.timer"],
        inputs=[release],
        before=[f"{unit.TOOL} join {name} {unit.peer_url(address)} {first} {others}"],
        gate=f"{unit.TOOL} gate",
        after=[
            f"{unit.TOOL} settle {name} {others}",
            *(f"{unit.TOOL} drop {unit.peer_url(address)}" for address in args.lost),
        ],
        undo=[f"{unit.TOOL} leave"],
        timeout=_TIMEOUT,
        purge=[unit.DATA, unit.CONFIG],
    )
