"""A service's own database, and the account that it reaches it by."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.pki import Password, PasswordArgs
from jarvis.pki.rotation import accepted
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.database.cluster import Database
from jarvis.stateful.database.mariadb import SQL_FOLDER, account_statements


@dataclass(frozen=True, kw_only=True)
class AccountArgs:
    """``database``: where. ``service``: the name of the database and of the user. ``charset``: of new tables;
    the three-byte utf8 is what OpenStack's own gate uses, and some services' indexes are too long for four.
    ``rotation``: of the password; raised by one, never by more, to make it anew."""

    database: Database
    service: str
    charset: str = "utf8mb3"
    rotation: int = 0


class Account(Component, token="stateful:Account"):
    """A database and an account with all rights on it, and none elsewhere.

    The account accepts the password of this rotation and the one before: clients change over one by one, and
    none is refused. After a theft rotate twice. Destroying it drops the account and keeps the data.

    - ``service``: name of the database and the user. ``password``: secret. ``applied``: the resource after
      which it can be used.
    """

    service: str
    password: pulumi.Output[str]
    applied: HostService

    def __init__(self, name: str, args: AccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.service = args.service
        passwords = [
            Password(f"{name}-{number}", PasswordArgs(rotation=number), self.child()).value
            for number in accepted(args.rotation)
        ]
        self.password = passwords[0]
        statements = pulumi.Output.all(*passwords).apply(
            lambda words: account_statements(
                database=args.service, user=args.service, charset=args.charset, passwords=words
            )
        )
        file = f"{SQL_FOLDER}/{args.service}.sql"
        self.applied = HostService(
            name,
            f"database-account-{args.service}",
            HostServiceArgs(
                target=args.database.writer,
                files=[Directory(path=SQL_FOLDER, mode="0700")],
                secret_files=[File(path=file, content=statements, mode="0600")],
                after=[f"mariadb --batch <{file}"],
                undo=[
                    "! systemctl is-active --quiet mariadb.service"
                    f" || mariadb --batch --execute \"DROP USER IF EXISTS '{args.service}'@'%'\""
                ],
            ),
            self.child(depends_on=[args.database]),
        )
        self.register_outputs({})
