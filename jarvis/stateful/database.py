"""The database of all services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment
from jarvis.core.component import Component
from jarvis.pki import Authority, AuthorityArgs
from jarvis.remote import Target
from jarvis.stateful.member import DatabaseMember, DatabaseMemberArgs

if TYPE_CHECKING:
    from jarvis.hosts import Host

# The name by which clients know it: the Service's (jarvis.stateful.link) and the one in the certificate.
SERVICE = "database"


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

    - ``addresses``: the servers' addresses, of port ``jarvis.stateful.mariadb.PORT``.
    - ``authority``: who signed their certificates. ``host``: its name for clients in the cluster, which is
      in every certificate.
    - ``writer``: the server where accounts are made.
    """

    addresses: list[str]
    authority: Authority
    host: str
    writer: Target
    members: list[DatabaseMember]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        self.host = f"{SERVICE}.{env.openstack.namespace}.svc.{env.networks.cluster_domain}"
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
                    dns_names=[self.host],
                    buffer_pool_mib=env.database.buffer_pool_mib,
                    options=env.database.options,
                    rotation=env.rotations.get(f"{name}-{host.server.name}", 0),
                ),
                self.child(),
            )
            for host in args.hosts
        ]
        self.addresses = [member.address for member in self.members]
        self.writer = args.hosts[0].target
        self.register_outputs({"addresses": self.addresses})
