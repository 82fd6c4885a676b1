"""The message queue of all services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, ServerRole
from jarvis.core.component import Component
from jarvis.pki import Authority, AuthorityArgs, RandomKey, RandomKeyArgs
from jarvis.remote import Target
from jarvis.stateful.link.service import LinkedService, cluster_name, members, names, tls
from jarvis.stateful.queue.member import QueueMember, QueueMemberArgs
from jarvis.stateful.queue.rabbitmq import MEMBER_PORT, PORT

if TYPE_CHECKING:
    from jarvis.hosts import Host

# First part of the name for clients, of the Service (jarvis.stateful.link) and in the certificates.
SERVICE = "queue"


def queue_link(env: Environment) -> LinkedService:
    """The link to the queue of ``env``: any member that serves, on one port everywhere.

    A paused member closes its port, so a TLS handshake tells who serves.
    """
    return LinkedService(
        name=SERVICE,
        port=PORT,
        members=members(env, ServerRole.QUEUE),
        member_port=MEMBER_PORT,
        check=tls(),
    )


@dataclass(frozen=True, kw_only=True)
class QueueArgs:
    """The servers of the queue.

    Attributes:
        hosts: servers with the role queue, in the configuration's order.
        env: the environment.

    Raises:
        ValueError: the number of servers is even, so that each half of a split would pause.
    """

    hosts: Sequence[Host]
    env: Environment

    def __post_init__(self) -> None:
        count = len(self.env.declared(ServerRole.QUEUE))
        if count % 2 == 0:
            raise ValueError(f"the queue runs on an odd number of servers, not on {count}")


class Queue(Component, token="stateful:Queue"):
    """RabbitMQ on the servers, whose members are started, and changed, one after the other.

    Attributes:
        authority: signs the members' certificates.
        host: name for clients in the cluster, which every certificate has.
        target: server on which accounts are made.
        ready: the members, to depend on.
    """

    authority: Authority
    host: str
    target: Target
    ready: list[QueueMember]

    def __init__(self, name: str, args: QueueArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        self.host = cluster_name(env, SERVICE)
        self.target = args.hosts[0].target
        self.authority = Authority(
            name,
            AuthorityArgs(common_name=f"{env.name} queue", rotation=env.rotations.get(name, 0)),
            self.child(),
        )
        cookie = RandomKey(
            f"{name}-cookie",
            RandomKeyArgs(encoding="urlsafe", rotation=env.rotations.get(f"{name}-cookie", 0)),
            self.child(),
        )
        servers = [host.server.name for host in args.hosts]
        self.ready = []
        for host in args.hosts:
            member = f"{name}-{host.server.name}"
            self.ready.append(
                QueueMember(
                    member,
                    QueueMemberArgs(
                        host=host,
                        others=[server for server in servers if server != host.server.name],
                        first=not self.ready,
                        cluster=env.name,
                        authority=self.authority,
                        dns_names=names(env, SERVICE),
                        cookie=cookie.value,
                        memory_mib=env.queue.memory_mib,
                        rotation=env.rotations.get(member, 0),
                        after=self.ready[-1:],
                    ),
                    self.child(),
                )
            )
        self.register_outputs({"host": self.host})
