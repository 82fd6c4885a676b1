"""One server of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config.types import Option
from jarvis.core.component import Component
from jarvis.pki import Authority, Certificate, CertificateArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.remote.script import read_file
from jarvis.stateful.mariadb import SQL_FOLDER, TLS_FOLDER, option_file

if TYPE_CHECKING:
    from jarvis.hosts import Host

_INIT = "/var/lib/jarvis/bin/mariadb-init"
_BASE_SQL = f"{SQL_FOLDER}/base.sql"
# Certificates are read anew without a restart, and without dropping a connection.
_RELOAD_TLS = "! systemctl is-active --quiet mariadb.service || mariadb --batch --execute 'FLUSH SSL'"


@dataclass(frozen=True, kw_only=True)
class DatabaseMemberArgs:
    """``host``: the server. ``authority``: signs its certificate, which holds for ``dns_names`` and the
    server's name and address. ``buffer_pool_mib``, ``options``: see ``jarvis.config.platform.Database``.
    ``rotation``: of the certificate."""

    host: Host
    authority: Authority
    dns_names: Sequence[str]
    buffer_pool_mib: int
    options: Mapping[str, Option]
    rotation: int = 0


class DatabaseMember(Component, token="stateful:DatabaseMember"):
    """MariaDB on one server, from Debian's package, with TLS and nobody but root let in.

    - ``address``: where it listens. ``applied``: the resource after which it answers.
    """

    address: str
    applied: HostService

    def __init__(
        self, name: str, args: DatabaseMemberArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        server = args.host.server
        self.address = str(server.address)
        certificate = Certificate(
            name,
            CertificateArgs(
                authority=args.authority,
                common_name=server.name,
                dns_names=[server.name, *args.dns_names],
                addresses=[self.address],
                client=False,
                server=True,
                rotation=args.rotation,
            ),
            self.child(),
        )
        tls = HostService(
            f"{name}-tls",
            "database-tls",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(path=f"{TLS_FOLDER}/authority.pem", content=args.authority.certificate),
                    File(path=f"{TLS_FOLDER}/server.pem", content=certificate.chain),
                ],
                secret_files=[
                    File(
                        path=f"{TLS_FOLDER}/server.key",
                        content=certificate.key,
                        mode="0400",
                        owner="mysql:mysql",
                    )
                ],
                after=[_RELOAD_TLS],
            ),
            self.child(depends_on=[args.host]),
        )
        settings = option_file(
            address=self.address, buffer_pool_mib=args.buffer_pool_mib, options=args.options
        )
        self.applied = HostService(
            name,
            "database",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    Directory(path=SQL_FOLDER, mode="0700"),
                    File(path="/etc/mysql/mariadb.conf.d/90-jarvis.cnf", content=settings),
                    File(
                        path="/etc/systemd/system/mariadb.service.d/jarvis.conf",
                        content=read_file("mariadb.service.conf"),
                    ),
                    File(path=_INIT, content=read_file("mariadb-init.sh"), mode="0755"),
                    File(path=_BASE_SQL, content=read_file("mariadb-base.sql")),
                ],
                before=[_INIT],
                units=["mariadb.service"],
                ready="mariadb --batch --execute 'SELECT 1'",
                timeout=180,
                after=[f"mariadb --batch <{_BASE_SQL}"],
                purge=["/var/lib/mysql"],
            ),
            self.child(depends_on=[tls]),
        )
        self.register_outputs({})
