"""MariaDB with Galera on the servers, and schemas, accounts and grants of services in it."""

from jarvis.stateful.database.account import Account, AccountArgs
from jarvis.stateful.database.cluster import Database, DatabaseArgs, database_link
from jarvis.stateful.database.grant import Grant, GrantArgs
from jarvis.stateful.database.schema import Schema, SchemaArgs

__all__ = [
    "Account",
    "AccountArgs",
    "Database",
    "DatabaseArgs",
    "Grant",
    "GrantArgs",
    "Schema",
    "SchemaArgs",
    "database_link",
]
