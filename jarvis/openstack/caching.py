"""How a service uses its cache, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from jarvis.config import Environment
from jarvis.config.types import Option
from jarvis.gateway import TcpRoute
from jarvis.openstack.catalogue import CACHE_PORT, enabled

# Seconds for which what is kept is believed. What a service changes it takes out at once; but where it could
# not reach the cache at that moment, others go by what was there for so long.
KEPT_SECONDS = 30
# The second is asked while the first is away.
NUMBERS = (1, 2)
# Where a pod of the service has its certificate, and memcached its own.
FOLDER = "/etc/jarvis/cache"


def cache_name(service: str) -> str:
    """The name of the Service of Kubernetes that leads to the cache of ``service``."""
    return f"{service}-cache"


def cache_host(env: Environment, service: str) -> str:
    """The name by which pods reach the cache of ``service``, by the gateway (see ``cache_tcp_routes``)."""
    return f"{cache_name(service)}.{env.openstack.namespace}.svc.{env.networks.cluster_domain}"


def cache_tcp_routes(env: Environment) -> list[TcpRoute]:
    """The ways to the caches of services.

    A client waits 3 s for each answer, in each of a dozen parts of Keystone: it must be told at once when the
    cache has gone.
    """
    return [
        TcpRoute(
            name=cache_name(service.name),
            port=CACHE_PORT,
            services=[f"{cache_name(service.name)}-{number}.{env.openstack.namespace}" for number in NUMBERS],
        )
        for service in enabled(env)
        if service.cached is not None
    ]


def cache_options(host: str, parts: Sequence[str] = ()) -> dict[str, Option]:
    """How a service uses the cache at ``host``, by ``group.option`` of oslo.cache.

    Args:
        host: name of the cache.
        parts: groups of the service that have a time of their own.
    """
    return {
        "cache.enabled": True,
        # The backend that goes on without its cache when that is away, and the only such one that knows TLS.
        "cache.backend": "oslo_cache.memcache_pool",
        "cache.memcache_servers": f"{host}:{CACHE_PORT}",
        "cache.expiration_time": KEPT_SECONDS,
        "cache.tls_enabled": True,
        "cache.tls_cafile": f"{FOLDER}/ca.pem",
        "cache.tls_certfile": f"{FOLDER}/client.pem",
        "cache.tls_keyfile": f"{FOLDER}/client.key",
        **{f"{part}.cache_time": KEPT_SECONDS for part in parts},
    }
