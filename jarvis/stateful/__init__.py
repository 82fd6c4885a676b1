"""Stateful services on the servers, outside the cluster, and the links by which clients reach them."""

from jarvis.stateful.database import (
    Account,
    AccountArgs,
    Database,
    DatabaseArgs,
    Grant,
    GrantArgs,
    Schema,
    SchemaArgs,
    database_link,
)
from jarvis.stateful.link import Link, LinkArgs, LinkedService, LinkProxies, LinkProxiesArgs
from jarvis.stateful.queue import Queue, QueueAccount, QueueAccountArgs, QueueArgs, queue_link

__all__ = [
    "Account",
    "AccountArgs",
    "Database",
    "DatabaseArgs",
    "Grant",
    "GrantArgs",
    "Link",
    "LinkArgs",
    "LinkProxies",
    "LinkProxiesArgs",
    "LinkedService",
    "Queue",
    "QueueAccount",
    "QueueAccountArgs",
    "QueueArgs",
    "Schema",
    "SchemaArgs",
    "database_link",
    "queue_link",
]
