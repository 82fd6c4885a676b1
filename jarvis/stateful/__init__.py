"""What keeps state, on servers and outside the cluster, and how it is given a name inside the cluster."""

from jarvis.stateful.database import Account, AccountArgs, Database, DatabaseArgs, database_link
from jarvis.stateful.link import Link, LinkArgs, LinkedService, LinkProxies, LinkProxiesArgs
from jarvis.stateful.queue import Queue, QueueAccount, QueueAccountArgs, QueueArgs, queue_link

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
    "Queue",
    "QueueAccount",
    "QueueAccountArgs",
    "QueueArgs",
    "database_link",
    "queue_link",
]
