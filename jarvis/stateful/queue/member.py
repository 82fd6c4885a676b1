"""One server of the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.core.text import read_beside
from jarvis.pki import Authority, Certificate, CertificateArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.remote.script import read_file
from jarvis.stateful.queue import rabbitmq

if TYPE_CHECKING:
    from jarvis.hosts import Host

# Seconds. A join copies tables of the others, and a stop hands over queues.
_TIMEOUT = 180


@dataclass(frozen=True, kw_only=True)
class QueueMemberArgs:
    """A member and its place in the cluster.

    Attributes:
        host: the server.
        others: names of the other members' servers.
        first: it bootstraps the cluster where there is none.
        cluster: name of the cluster.
        authority: signs the member's certificate.
        dns_names: names in the certificate, beside the server's name and address.
        cookie: Erlang's shared secret, by which members and tools authenticate to each other.
        memory_mib: see ``jarvis.config.platform.QueueSettings``.
        rotation: counter of the certificate.
        after: resources to wait for, such as the member before.
    """

    host: Host
    others: Sequence[str]
    first: bool
    cluster: str
    authority: Authority
    dns_names: Sequence[str]
    cookie: pulumi.Input[str]
    memory_mib: int
    rotation: int = 0
    after: Sequence[pulumi.Resource] = ()


class QueueMember(Component, token="stateful:QueueMember"):
    """RabbitMQ on one server, from Debian's package, with TLS for clients and between members.

    It restarts only while all other members serve and every queue can spare it. A member without data joins
    the others, who first remove what they knew of it. Deleting the resource removes it from the cluster.
    """

    def __init__(self, name: str, args: QueueMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        server, target = args.host.server, args.host.target
        address = str(server.address)
        certificate = Certificate(
            name,
            CertificateArgs(
                authority=args.authority,
                common_name=server.name,
                dns_names=[server.name, *args.dns_names],
                addresses=[address],
                server=True,
                rotation=args.rotation,
            ),
            self.child(),
        )
        # The running member reloads these: neither a new certificate nor a new cookie restarts it.
        secrets = HostService(
            f"{name}-secrets",
            "queue-secrets",
            HostServiceArgs(
                target=target,
                files=[
                    File(path=rabbitmq.TOOL, content=read_file("rabbitmq/rabbitmq.sh"), mode="0755"),
                    Directory(path=rabbitmq.FOLDER, mode="0700"),
                    File(path=rabbitmq.AUTHORITY, content=args.authority.certificate),
                    File(path=rabbitmq.CERTIFICATE, content=certificate.chain),
                ],
                secret_files=[
                    File(path=rabbitmq.KEY, content=certificate.key, mode="0400", owner="rabbitmq:rabbitmq"),
                    File(path=f"{rabbitmq.FOLDER}/cookie", content=args.cookie, mode="0400"),
                ],
                after=[f"{rabbitmq.TOOL} cookie", f"{rabbitmq.TOOL} certificates"],
            ),
            self.child(depends_on=[args.host]),
        )
        others = ",".join(args.others) or "-"
        HostService(
            name,
            "queue",
            HostServiceArgs(
                target=target,
                files=[
                    File(
                        path=f"{rabbitmq.CONFIG}/rabbitmq.conf",
                        content=rabbitmq.configuration(
                            address=address, cluster=args.cluster, memory_mib=args.memory_mib
                        ),
                    ),
                    File(
                        path=f"{rabbitmq.CONFIG}/rabbitmq-env.conf",
                        content=rabbitmq.environment(
                            server=server.name, address=address, patience=args.host.target.patience
                        ),
                    ),
                    File(path=f"{rabbitmq.CONFIG}/distribution.config", content=rabbitmq.distribution()),
                    File(path=f"{rabbitmq.CONFIG}/enabled_plugins", content="[]."),
                    File(
                        path="/etc/systemd/system/epmd.socket.d/jarvis.conf",
                        content=rabbitmq.mapper_socket(address),
                    ),
                    File(
                        path="/etc/systemd/system/rabbitmq-server.service.d/jarvis.conf",
                        content=read_beside(__file__, "rabbitmq.service.conf"),
                    ),
                ],
                before=[f"{rabbitmq.TOOL} prepare {'yes' if args.first else 'no'} {others}"],
                gate=f"{rabbitmq.TOOL} gate",
                units=["epmd.socket", "rabbitmq-server.service"],
                timeout=_TIMEOUT,
                after=[f"{rabbitmq.TOOL} settle {others}"],
                undo=[f"{rabbitmq.TOOL} leave {others}"],
                purge=[rabbitmq.DATA],
            ),
            self.child(
                depends_on=[secrets, *args.after],
                protect=guard(name, f"the member of the queue on {server.name}, with its data", server.name),
            ),
        )
        self.register_outputs({})
