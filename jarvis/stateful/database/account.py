"""Accounts of services in the database."""

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
    """An account.

    Attributes:
        database: the cluster.
        user: name of the account.
        rotation: counter of the password; raised by one, never by more, to make it anew.
    """

    database: Database
    user: str
    rotation: int = 0


class Account(Component, token="stateful:Account"):
    """An account that may log in and nothing else; a ``Grant`` gives it rights.

    It accepts the passwords of this rotation and of the one before: clients change one by one, and none is
    refused. After a theft rotate twice. Deleting the resource drops the account.

    Attributes:
        database: the cluster.
        user: name of the account.
        password: current password, secret.
        ready: the role after which the account is there.
    """

    database: Database
    user: str
    password: pulumi.Output[str]
    ready: HostService

    def __init__(self, name: str, args: AccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.database, self.user = args.database, args.user
        passwords = [
            Password(f"{name}-{number}", PasswordArgs(rotation=number), self.child()).value
            for number in accepted(args.rotation)
        ]
        self.password = passwords[0]
        statements = pulumi.Output.all(*passwords).apply(
            lambda words: account_statements(user=args.user, passwords=words)
        )
        file = f"{SQL_FOLDER}/{args.user}.sql"
        self.ready = HostService(
            name,
            f"database-account-{args.user}",
            HostServiceArgs(
                target=args.database.writer,
                files=[Directory(path=SQL_FOLDER, mode="0700")],
                secret_files=[File(path=file, content=statements, mode="0600")],
                after=[f"mariadb --batch <{file}"],
                undo=[
                    "! systemctl is-active --quiet mariadb.service"
                    f" || mariadb --batch --execute \"DROP USER IF EXISTS '{args.user}'@'%'\""
                ],
            ),
            self.child(depends_on=[args.database]),
        )
        self.register_outputs({})
