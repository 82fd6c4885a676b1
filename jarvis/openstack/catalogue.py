"""All services of OpenStack that there are, and what follows from the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jarvis.openstack.model import AnyService
from jarvis.openstack.services.glance import GLANCE
from jarvis.openstack.services.keystone import KEYSTONE
from jarvis.openstack.services.nova import NOVA
from jarvis.openstack.services.placement import PLACEMENT

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

# In the order in which they need each other.
CATALOGUE: tuple[AnyService, ...] = (KEYSTONE, GLANCE, PLACEMENT, NOVA)
# What an environment has that says nothing of services.
DEFAULT = ("keystone", "glance")
# TCP port of memcached in its pods.
CACHE_PORT = 11211
# Names in an environment's domain, by the gateway: of all services, so that one that is turned on changes no
# server, no certificate and no other name.
HOSTS: tuple[str, ...] = tuple(web.host for one in CATALOGUE for _, web in one.webs() if web.host)
# TCP ports of the services' pods, and of their caches; of all for the same reason.
PORTS: tuple[int, ...] = (*(web.port for one in CATALOGUE for _, web in one.webs()), CACHE_PORT)


def enabled(env: Environment) -> list[AnyService]:
    """The services that ``env`` has, in the catalogue's order."""
    return [one for one in CATALOGUE if one.name in env.openstack.services]


def retired(env: Environment) -> list[AnyService]:
    """The services that ``env`` has no more; what they keep their data in is still there."""
    return [
        one for one in CATALOGUE if one.name in env.before.services and one.name not in env.openstack.services
    ]


def named(name: str) -> AnyService:
    """The service called ``name``.

    Raises:
        KeyError: there is none.
    """
    return {one.name: one for one in CATALOGUE}[name]


def shared_secrets(env: Environment) -> dict[str, str]:
    """The secrets that services of ``env`` share, by name; each with the name of its counter."""
    return {
        name: f"{name}-secret"
        for one in enabled(env)
        for process in one.processes.values()
        for name in process.shared.values()
    }


def counters(env: Environment) -> Iterator[str]:
    """The names of the services' secrets that ``rotations`` may count."""
    for one in enabled(env):
        yield from (f"{each.resource}-database" for each in one.databases)
        yield from (f"{each.name}-queue" for each in one.queues)
        yield from (f"{each.client}-ceph" for each in one.ceph)
        if one.keystone.account:
            yield f"{one.name}-register"
        else:
            yield f"{one.name}-admin"
        if one.cached is not None:
            yield from (f"{one.name}-cache", f"{one.name}-cache-certificate")
    yield from shared_secrets(env).values()
