"""What keeps state, on servers and outside the cluster, and how it is given a name inside the cluster."""

from jarvis.stateful.account import Account, AccountArgs
from jarvis.stateful.database import Database, DatabaseArgs
from jarvis.stateful.link import Link, LinkArgs

__all__ = ["Account", "AccountArgs", "Database", "DatabaseArgs", "Link", "LinkArgs"]
