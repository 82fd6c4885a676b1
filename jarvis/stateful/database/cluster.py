"""The cluster that all services' databases are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, Role
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

# The name by which clients know it: the Service's (jarvis.stateful.link) and the one in the certificate.
SERVICE = "database"


def database_link(env: Environment) -> LinkedService:
    """How clients reach the database of ``env``: one writer, and its port everywhere."""
    return LinkedService(
        name=SERVICE,
        port=PORT,
        members=members(env, Role.DATABASE),
        member_port=MEMBER_PORT,
        check=http(HEALTH_PORT),
        one_writer=True,
    )


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """``hosts``: the servers that hold it, an odd number, in the configuration's order: the first that is
    well is the one that takes writes. ``env``: the environment.

    Raises ``ValueError`` for an even number of servers.
    """

    hosts: Sequence[Host]
    env: Environment

    def __post_init__(self) -> None:
        count = len(self.env.declared(Role.DATABASE))
        if count % 2 == 0:
            raise ValueError(
                f"{count} servers for the database: it needs an odd number, of which most are left"
            )


class Database(Component, token="stateful:Database"):
    """MariaDB with Galera on the servers, outside the Kubernetes cluster.

    All members' agents run before the first MariaDB starts: a cluster is begun only by one that knows of each
    other member that it has no data (``jarvis.host.database.decision``). Changes reach one member after
    the other, the next only once the one before is in step again.

    - ``authority``: who signed their certificates. ``host``: its name for clients in the cluster, which is
      in every certificate.
    - ``writer``: the server where accounts are made.
    """

    authority: Authority
    host: str
    writer: Target
    members: list[DatabaseMember]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        self.host = cluster_name(env, SERVICE)
        self.authority = Authority(
            name,
            AuthorityArgs(common_name=f"{env.name} database", rotation=env.rotations.get(name, 0)),
            self.child(),
        )
        # Lost ones too: MariaDB would have to restart to be told of fewer. Its agents know who is lost.
        addresses = {one.name: str(one.address) for one in env.declared(Role.DATABASE)}
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
            ).applied
            for host in args.hosts
        ]
        self.members = []
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
            self.members.append(member)
            before = [member]
        self.writer = args.hosts[0].target
        self.register_outputs({"host": self.host})
