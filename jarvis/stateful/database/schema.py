"""A service's own database."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.database.cluster import Database
from jarvis.stateful.database.mariadb import SQL_FOLDER, schema_statements


@dataclass(frozen=True, kw_only=True)
class SchemaArgs:
    """``database``: the cluster it is in. ``schema``: its name. ``charset``: of new tables; the three-byte
    utf8 is what OpenStack's own gate uses, and some services' indexes are too long for four."""

    database: Database
    schema: str
    charset: str = "utf8mb3"


class Schema(HostService, once_in="stateful:Schema"):
    """A database in the cluster. Destroying it keeps its data: a person drops that.

    - ``schema``: its name.
    """

    schema: str

    def __init__(self, name: str, args: SchemaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        file = f"{SQL_FOLDER}/{args.schema}.schema.sql"
        text = schema_statements(database=args.schema, charset=args.charset)
        super().__init__(
            name,
            f"database-schema-{args.schema}",
            HostServiceArgs(
                target=args.database.writer,
                files=[
                    Directory(path=SQL_FOLDER, mode="0700"),
                    File(path=file, content=text, mode="0600"),
                ],
                after=[f"mariadb --batch <{file}"],
            ),
            opts,
            depends_on=[args.database],
        )
        self.schema = args.schema
