"""The database cluster of all services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, ServerRole
from jarvis.core.component import Component
from jarvis.pki import Authority, AuthorityArgs
from jarvis.remote import Target
from jarvis.stateful.database.mariadb import HEALTH_PORT, MEMBER_PORT, PORT
from jarvis.stateful.database.member import (
    DatabaseAgent,
    DatabaseAgentArgs,
    DatabaseMember,
    DatabaseMemberArgs,
)
from jarvis.stateful.link.service import LinkedService, cluster_name, http, members, names

if TYPE_CHECKING:
    from jarvis.hosts import Host

# First part of the name for clients, of the Service (jarvis.stateful.link) and in the certificates.
SERVICE = "database"


def database_link(env: Environment) -> LinkedService:
    """The link to the database of ``env``: one writer, on one port everywhere."""
    return LinkedService(
        name=SERVICE,
        port=PORT,
        members=members(env, ServerRole.DATABASE),
        member_port=MEMBER_PORT,
        check=http(HEALTH_PORT),
        one_writer=True,
    )


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """The servers of the database.

    Attributes:
        hosts: servers with the role database, in the configuration's order. The first healthy one takes
            writes.
        env: the environment.

    Raises:
        ValueError: the number of servers is even.
    """

    hosts: Sequence[Host]
    env: Environment

    def __post_init__(self) -> None:
        count = len(self.env.declared(ServerRole.DATABASE))
        if count % 2 == 0:
            raise ValueError(
                f"{count} servers for the database: it needs an odd number, of which most are left"
            )


class Database(Component, token="stateful:Database"):
    """MariaDB with Galera on the servers, outside the Kubernetes cluster.

    All agents run before the first MariaDB starts: a member bootstraps the cluster only when it knows of each
    other member that it has no data (``jarvis.host.database.decision``). Changes reach one member after
    the other, the next one only once the one before is in step again.

    Attributes:
        authority: signs the members' certificates.
        host: name for clients in the cluster, which every certificate has.
        writer: server on which accounts are made.
        ready: the members, to depend on.
    """

    authority: Authority
    host: str
    writer: Target
    ready: list[DatabaseMember]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        self.host = cluster_name(env, SERVICE)
        self.authority = Authority(
            name,
            AuthorityArgs(common_name=f"{env.name} database", rotation=env.rotations.get(name, 0)),
            self.child(),
        )
        # Lost members included: MariaDB would have to restart for a shorter list. Its agents know who is
        # lost.
        addresses = {one.name: str(one.address) for one in env.declared(ServerRole.DATABASE)}
        agents = [
            DatabaseAgent(
                f"{name}-{host.server.name}",
                DatabaseAgentArgs(
                    host=host,
                    addresses=addresses,
                    authority=self.authority,
                    dns_names=names(env, SERVICE),
                    rotation=env.rotations.get(f"{name}-{host.server.name}", 0),
                ),
                self.child(),
            ).ready
            for host in args.hosts
        ]
        self.ready = []
        before: list[pulumi.Resource] = [*agents]
        for host in args.hosts:
            member = DatabaseMember(
                f"{name}-{host.server.name}",
                DatabaseMemberArgs(
                    host=host,
                    cluster=env.name,
                    addresses=addresses,
                    buffer_pool_mib=env.database.buffer_pool_mib,
                    options=env.database.options,
                    after=before,
                ),
                self.child(),
            )
            self.ready.append(member)
            before = [member]
        self.writer = args.hosts[0].target
        self.register_outputs({"host": self.host})
