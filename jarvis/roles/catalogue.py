"""All roles. One more is its file beside this one, a line of ``ServerRole`` and one of ``ROLES``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType

from jarvis.roles import control_plane, database, etcd, gateway, queue, registry, storage, worker
from jarvis.roles.base import BASE
from jarvis.roles.model import HostRole


class ServerRole(StrEnum):
    """What a server is for. A server may have any number of roles."""

    ETCD = "etcd"
    CONTROL_PLANE = "control-plane"
    WORKER = "worker"
    REGISTRY = "registry"
    DATABASE = "database"
    QUEUE = "queue"
    STORAGE = "storage"
    GATEWAY = "gateway"


# Rules stand in this order in the firewall of a server, where all of them accept: another order would change
# the text of each deployed server, and what is let in not at all. Add at the end.
ROLES = MappingProxyType(
    {
        ServerRole(role.name): role
        for role in (
            etcd.ROLE,
            control_plane.ROLE,
            gateway.ROLE,
            worker.ROLE,
            registry.ROLE,
            database.ROLE,
            queue.ROLE,
            storage.ROLE,
        )
    }
)


def declared(roles: Iterable[ServerRole]) -> list[HostRole]:
    """The declarations for a server with ``roles``: that of all servers, then ``roles`` as in ``ROLES``."""
    own = set(roles)
    return [BASE, *(role for name, role in ROLES.items() if name in own)]
