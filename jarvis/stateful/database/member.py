"""One database server: MariaDB, and the agent that decides when it may start."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config.types import Option
from jarvis.core.component import Component, merged
from jarvis.core.safety import guard
from jarvis.core.text import read_beside
from jarvis.pki import Authority, Certificate, CertificateArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.remote.program import program
from jarvis.stateful.database.mariadb import DATA, SQL_FOLDER, STATE, TLS_FOLDER, option_file

if TYPE_CHECKING:
    from jarvis.hosts import Host

_TOOLS = "/var/lib/jarvis/lib/database"
_MEMBER = f"{_TOOLS}/member.py"
_BASE_SQL = f"{_TOOLS}/base.sql"
# The agent that the first one program does the same as, so that its coming restarts none: two files then.
_FORMER = {
    _MEMBER: "246aae03ef27a1490f4e91479488db685083e391b0170f26827b1d097558878e",
    f"{_TOOLS}/decision.py": "d58045aa721062379d680bd809f12c6879a061e05aa4cbaf803b0ae493484101",
}
_AGENT = "jarvis-database-agent.service"
# Loads certificates without a restart, and without dropping a connection. Where MariaDB still waits for the
# other members it reads them when it starts.
_RELOAD_TLS = (
    "! mariadb --batch --execute 'SELECT 1' >/dev/null 2>&1"
    " || mariadb --batch --execute \"FLUSH SSL; SET GLOBAL wsrep_provider_options='socket.ssl_reload=1'\""
)
# Seconds. A member that was away for long receives the whole database.
_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class DatabaseAgentArgs:
    """The agent of one member.

    Attributes:
        host: the server.
        addresses: addresses of all members by server, in the configuration's order.
        authority: signs the member's certificate.
        dns_names: names in the certificate, beside the server's name and address.
        rotation: counter of the certificate.
    """

    host: Host
    addresses: Mapping[str, str]
    authority: Authority
    dns_names: Sequence[str]
    rotation: int = 0


class DatabaseAgent(Component, token="stateful:DatabaseAgent"):
    """A member's certificate, and the agent that tells other members its health and position.

    It is there before the member has any data.

    Attributes:
        ready: the role after which the agent answers.
    """

    ready: HostService

    def __init__(
        self, name: str, args: DatabaseAgentArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        server = args.host.server
        certificate = Certificate(
            name,
            CertificateArgs(
                authority=args.authority,
                common_name=server.name,
                dns_names=[server.name, *args.dns_names],
                addresses=[str(server.address)],
                # Members connect to each other as clients.
                client=True,
                server=True,
                rotation=args.rotation,
            ),
            self.child(),
        )
        told = json.dumps({"name": server.name, "members": dict(args.addresses), "data": DATA}, indent=1)
        self.ready = HostService(
            f"{name}-agent",
            "database-agent",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    Directory(path=TLS_FOLDER),
                    File(path=f"{TLS_FOLDER}/authority.pem", content=args.authority.certificate),
                    File(path=f"{TLS_FOLDER}/server.pem", content=certificate.chain),
                    File(path=f"{TLS_FOLDER}/member.json", content=told),
                    File(path=_MEMBER, content=program("database"), mode="0755"),
                    File(
                        path=f"/etc/systemd/system/{_AGENT}", content=read_beside(__file__, "agent.service")
                    ),
                ],
                secret_files=[
                    File(
                        path=f"{TLS_FOLDER}/server.key",
                        content=certificate.key,
                        mode="0400",
                        owner="mysql:mysql",
                    )
                ],
                units=[_AGENT],
                after=[_RELOAD_TLS],
                purge=[STATE, "/run/jarvis-database"],
                same=_FORMER,
            ),
            self.child(depends_on=[args.host]),
        )
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class DatabaseMemberArgs:
    """MariaDB on one server.

    Attributes:
        host: the server.
        cluster: name of the cluster.
        addresses: addresses of all members by server.
        buffer_pool_mib: see ``jarvis.config.platform.DatabaseSettings``.
        options: see there.
        after: resources to wait for before it starts.
    """

    host: Host
    cluster: str
    addresses: Mapping[str, str]
    buffer_pool_mib: int
    options: Mapping[str, Option]
    after: Sequence[pulumi.Resource] = ()


class DatabaseMember(HostService):
    """MariaDB on one server, from Debian's package, with TLS, and open to root alone.

    It is ready once the member is in step with the cluster.
    """

    def __init__(
        self, name: str, args: DatabaseMemberArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        settings = option_file(
            name=args.host.server.name,
            cluster=args.cluster,
            addresses=args.addresses,
            buffer_pool_mib=args.buffer_pool_mib,
            options=args.options,
            patience=args.host.target.patience,
        )
        super().__init__(
            name,
            "database",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    Directory(path=SQL_FOLDER, mode="0700"),
                    File(path="/etc/mysql/mariadb.conf.d/90-jarvis.cnf", content=settings),
                    File(
                        path="/etc/systemd/system/mariadb.service.d/jarvis.conf",
                        content=read_beside(__file__, "mariadb.conf"),
                    ),
                    File(path=_BASE_SQL, content=read_beside(__file__, "base.sql")),
                ],
                units=["mariadb.service"],
                gate=f"{_MEMBER} gate",
                ready=f"{_MEMBER} ready",
                timeout=_TIMEOUT,
                purge=[DATA],
            ),
            merged(
                opts,
                protect=guard(
                    name,
                    f"the member of the database on {args.host.server.name}, with its data",
                    args.host.server.name,
                ),
            ),
            depends_on=[args.host, *args.after],
        )
