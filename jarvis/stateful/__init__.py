"""What keeps state, on servers and outside the cluster, and how it is given a name inside the cluster."""

from jarvis.stateful.database import Account, AccountArgs, Database, DatabaseArgs, database_link
from jarvis.stateful.link import Link, LinkArgs, LinkedService, LinkProxies, LinkProxiesArgs

__all__ = [
    "Account",
    "AccountArgs",
    "Database",
    "DatabaseArgs",
    "Link",
    "LinkArgs",
    "LinkProxies",
    "LinkProxiesArgs",
    "LinkedService",
    "database_link",
]
