"""The database: MariaDB with Galera on the servers, and the accounts of services in it."""

from jarvis.stateful.database.account import Account, AccountArgs
from jarvis.stateful.database.cluster import Database, DatabaseArgs, database_link

__all__ = ["Account", "AccountArgs", "Database", "DatabaseArgs", "database_link"]
