"""Schemas of services in the database."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.database.carry_over import carry_over_steps, run_step
from jarvis.stateful.database.cluster import Database
from jarvis.stateful.database.mariadb import SQL_FOLDER, schema_statements


@dataclass(frozen=True, kw_only=True)
class SchemaArgs:
    """A schema.

    Attributes:
        database: the cluster.
        schema: name of the schema.
    """

    database: Database
    schema: str


class Schema(HostService):
    """A schema (MariaDB's database) in UTF-8. Deleting it keeps the data, which a person drops.

    Tables in three-byte utf8, from former versions of Jarvis, are converted (``carry_over``). An interrupted
    run leaves each table either as it was or converted, and the next run goes on.

    Attributes:
        schema: its name.
    """

    schema: str

    def __init__(self, name: str, args: SchemaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        file = f"{SQL_FOLDER}/{args.schema}.schema.sql"
        steps = {
            f"{SQL_FOLDER}/{args.schema}.{step}.sql": text
            for step, text in carry_over_steps(args.schema).items()
        }
        super().__init__(
            name,
            f"database-schema-{args.schema}",
            HostServiceArgs(
                target=args.database.writer,
                files=[
                    Directory(path=SQL_FOLDER, mode="0700"),
                    File(path=file, content=schema_statements(database=args.schema), mode="0600"),
                    *(File(path=path, content=text, mode="0600") for path, text in steps.items()),
                ],
                after=[f"mariadb --batch <{file}", *map(run_step, steps)],
            ),
            opts,
            depends_on=[args.database],
        )
        self.schema = args.schema
