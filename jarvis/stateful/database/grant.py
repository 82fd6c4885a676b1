"""Rights of accounts in the database."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.database.account import Account
from jarvis.stateful.database.mariadb import SQL_FOLDER, grant_statements, revoke_statements
from jarvis.stateful.database.schema import Schema


@dataclass(frozen=True, kw_only=True)
class GrantArgs:
    """An account, and the schema that it gets all rights on.

    Attributes:
        account: the account.
        schema: the schema, in the same cluster.
    """

    account: Account
    schema: Schema


class Grant(HostService):
    """All rights of an account on one schema. Deleting it revokes them."""

    def __init__(self, name: str, args: GrantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        user, schema = args.account.user, args.schema.schema
        file, undo = (f"{SQL_FOLDER}/{user}.on.{schema}.{verb}.sql" for verb in ("grant", "revoke"))
        super().__init__(
            name,
            f"database-grant-{user}-{schema}",
            HostServiceArgs(
                target=args.account.database.writer,
                files=[
                    Directory(path=SQL_FOLDER, mode="0700"),
                    File(path=file, content=grant_statements(database=schema, user=user), mode="0600"),
                    File(path=undo, content=revoke_statements(database=schema, user=user), mode="0600"),
                ],
                after=[f"mariadb --batch <{file}"],
                undo=[f"! systemctl is-active --quiet mariadb.service || mariadb --batch <{undo}"],
            ),
            opts,
            depends_on=[args.account, args.schema],
        )
