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

# A start reads the database and catches up; settling and the gate ask every member.
_TIMEOUT = 120


@dataclass(frozen=True, kw_only=True)
class EtcdMemberArgs:
    """What one member is.

    - ``host``: the server. ``others``: addresses of the other members. ``lost``: of those whose servers are
      gone for good, which leave the cluster.
    - ``index``: its place among all, from 0; the first begins the cluster.
    - ``authority``: signs members and clients. ``flags``: beyond Jarvis' own.
    - ``rotation``: raised by one to make its certificate anew.
    - ``after``: what must be done before it is touched, such as the member before it.
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
    """etcd on one server: mutual TLS with peers and clients, restarted only while all others are healthy.

    A server without data is added to the cluster that the others form, as a learner first; the first member
    begins it where there is none. Destroying it takes the member out of the cluster.

    - ``endpoint``: where it serves clients.
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
    """The role etcd of the server ``name`` at ``address``."""
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
