"""The database of all services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, Role
from jarvis.core.component import Component
from jarvis.pki import Authority, AuthorityArgs
from jarvis.remote import Target
from jarvis.stateful.link.service import LinkedService, cluster_name, members, names, tcp
from jarvis.stateful.mariadb import MEMBER_PORT, PORT
from jarvis.stateful.member import DatabaseMember, DatabaseMemberArgs

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
        check=tcp(),
        one_writer=True,
    )


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """``hosts``: the servers that hold it; today exactly one. ``env``: the environment.

    Raises ``ValueError`` for another number of servers.
    """

    hosts: Sequence[Host]
    env: Environment

    def __post_init__(self) -> None:
        if len(self.hosts) != 1:
            raise ValueError(f"the database runs on one server, not on {len(self.hosts)}")


class Database(Component, token="stateful:Database"):
    """MariaDB on the servers, outside the cluster.

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
        self.members = [
            DatabaseMember(
                f"{name}-{host.server.name}",
                DatabaseMemberArgs(
                    host=host,
                    authority=self.authority,
                    dns_names=names(env, SERVICE),
                    buffer_pool_mib=env.database.buffer_pool_mib,
                    options=env.database.options,
                    rotation=env.rotations.get(f"{name}-{host.server.name}", 0),
                ),
                self.child(),
            )
            for host in args.hosts
        ]
        self.writer = args.hosts[0].target
        self.register_outputs({"host": self.host})
