"""Where clients find services: by name, through the gateway."""

from __future__ import annotations

from typing import Any

from jarvis.config import Environment
from jarvis.gateway import Route
from jarvis.gateway.http import route_url
from jarvis.openstack.catalogue import CATALOGUE, HOSTS
from jarvis.openstack.model import AnyService, Web
from jarvis.openstack.services.keystone import KEYSTONE


def service_url(env: Environment, service: AnyService) -> str:
    """The URL of ``service`` in the catalogue of endpoints."""
    _, web = next(service.webs())
    return f"{route_url(env, _host(env, web.host))}{service.keystone.path}"


def keystone_url(env: Environment) -> str:
    """The URL of Keystone, ``/v3`` included."""
    return service_url(env, KEYSTONE)


def route(env: Environment, service: AnyService, process: str, web: Web[Any]) -> Route:
    """The gateway's route to a process.

    Args:
        env: the environment.
        service: its service.
        process: the name of the process.
        web: the process.
    """
    known_as = service.known_as(process)
    return Route(
        name=known_as,
        host=_host(env, web.host),
        service=f"{known_as}.{env.openstack.namespace}",
        health=web.health,
        requests=service.scale_of(process, service.settings_in(env)).at_once,
        patience=web.patience,
        whole=web.whole,
        self_links=web.self_links,
    )


def routes(env: Environment) -> list[Route]:
    """The gateway's routes to all services that there are, as ``HOSTS``.

    So one that is turned on changes no gateway. Where it is off nobody is behind its route, and the gateway
    answers 503.
    """
    return [
        route(env, service, process, web)
        for service in CATALOGUE
        for process, web in service.webs()
        if web.host
    ]


def route_names(env: Environment) -> list[str]:
    """The full names of all routes that there may be (see ``HOSTS``)."""
    return [_host(env, host) for host in HOSTS]


def _host(env: Environment, name: str) -> str:
    return f"{name}.{env.networks.domain}"
