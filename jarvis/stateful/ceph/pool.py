"""Pools of the storage."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.core.text import read_beside
from jarvis.remote import HostService, HostServiceArgs, RemoteScript, RemoteScriptArgs
from jarvis.stateful.ceph import text
from jarvis.stateful.ceph.storage import Storage

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class PoolArgs:
    """A pool and its redundancy.

    Attributes:
        storage: the storage.
        pool: name of the pool.
        copies: copies of each object; the storage's number by default.
        min_size: copies without which I/O stops; ``text.least`` by default.

    Raises:
        ValueError: the name is not of lower-case letters, digits and ``-``, or the numbers do not fit each
            other or the number of servers.
    """

    storage: Storage
    pool: str
    copies: int | None = None
    min_size: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.pool):
            raise ValueError(f"{self.pool!r} is not a name of 1 to 32 lower-case letters, digits and -")
        copies, least, servers = self.size, self.least, len(self.storage.monitors)
        if not 1 <= least <= copies <= servers:
            raise ValueError(
                f"the pool {self.pool} with {copies} copies, of which {least} suffice, does not go with "
                f"{servers} servers (1 <= min_size <= copies <= servers)"
            )

    @property
    def size(self) -> int:
        """Copies of each object."""
        return self.copies or self.storage.copies

    @property
    def least(self) -> int:
        """Copies that must be there for I/O."""
        return self.min_size or text.least(self.size)


class Pool(Component, token="ceph:Pool"):
    """A pool of RBD images. Deleting it keeps the data, which ends with the storage.

    Attributes:
        pool: its name.
        health: Ceph's health once the pool was there with all copies.
        ready: the role after which the pool is there.
    """

    pool: str
    health: pulumi.Output[str]
    ready: HostService

    def __init__(self, name: str, args: PoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.pool = args.pool
        self.ready = HostService(
            name,
            f"ceph-pool-{args.pool}",
            HostServiceArgs(
                target=args.storage.admin, after=[f"{text.TOOL} pool {args.pool} {args.size} {args.least}"]
            ),
            self.child(depends_on=[args.storage]),
        )
        asked = RemoteScript(
            f"{name}-health",
            RemoteScriptArgs(
                target=args.storage.admin,
                script=read_beside(__file__, "health.sh"),
                arguments=[args.pool, str(args.size), str(args.least), *args.storage.monitors],
            ),
            self.child(depends_on=[self.ready]),
        )
        self.health = asked.stdout.apply(str.strip)
        self.register_outputs({"pool": self.pool, "health": self.health})
