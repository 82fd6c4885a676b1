"""What the processes of a service are told, as pure functions: Jarvis' options, and the operator's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jarvis.config import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.service import ProcessSettings, ServiceSettings
from jarvis.config.types import Option
from jarvis.openstack.accounts import account_options
from jarvis.openstack.caching import cache_host, cache_options
from jarvis.openstack.model import AnyService, Database, Options, Process, Value, Web, authority_file
from jarvis.openstack.option_list import OptionList, check_options, check_secrets
from jarvis.openstack.urls import keystone_url

# What every process is told. Logs go to the container's standard output, as JSON.
_EVERY: Options = {
    # Where there is no other place, oslo.log writes to standard output.
    "DEFAULT.use_stderr": False,
    "DEFAULT.use_json": True,
}
_WEB: Options = {
    # The gateway says what the client asked for (X-Forwarded-*); it alone reaches the pods.
    "oslo_middleware.enable_proxy_headers_parsing": True,
}
# The service's own part of the queue: by TLS, in queues of which each server has a copy. Both are off by
# default.
_QUEUE: Options = {
    "oslo_messaging_rabbit.ssl": True,
    "oslo_messaging_rabbit.ssl_ca_file": authority_file("queue"),
    "oslo_messaging_rabbit.rabbit_quorum_queue": True,
}


def database_options(database: Database) -> dict[str, Option]:
    """How a process uses ``database``, beside its URL."""
    return {
        # Fewer connections than requests at once would queue; the database takes 1000 in all.
        f"{database.group}.max_pool_size": 5,
        f"{database.group}.max_overflow": 10,
        # Without the database a request is answered with 503 at once (images/openstack/answering.py). By
        # default a process would try its first connection again and again, and hold its clients up.
        f"{database.group}.max_retries": 0,
    }


def own_options(service: AnyService, process: str, env: Environment) -> dict[str, Value]:
    """What Jarvis tells a process in the open, where the operator says nothing else.

    Args:
        service: the service.
        process: name of its process.
        env: the environment.
    """
    about = service.processes[process]
    found: dict[str, Value] = dict(_EVERY)
    if isinstance(about, Web):
        found |= _WEB
    for database in service.databases_of(about):
        found |= database_options(database)
    if service.queues_of(about):
        found |= _QUEUE
    if service.cached is not None:
        found |= cache_options(cache_host(env, service.name), service.cached)
    found |= service.options(service.context(env))
    found |= about.options
    if not service.keystone.account:
        return found
    login = account_options(
        service=service.name,
        kind=service.keystone.kind,
        url=keystone_url(env),
        region=env.openstack.region,
        authority=authority_file("gateway"),
        rotation=env.rotations.get(f"{service.name}-register", 0),
        groups=service.keystone.password_groups,
    )
    return {**found, **login}


def secret_names(service: AnyService, about: Process[Any]) -> list[str]:
    """The options of a process of ``service`` that hold a secret, or where the pod is."""
    return [
        *(one.option for one in service.databases_of(about)),
        *(one.option for one in service.queues_of(about)),
        *(f"{group}.password" for group in service.keystone.password_groups),
        *about.shared,
        *about.addressed,
    ]


def plain_options(service: AnyService, process: str, env: Environment, known: OptionList) -> dict[str, Value]:
    """The plain options of a process: Jarvis' own, and the operator's, which win.

    Args:
        service: the service.
        process: name of its process.
        env: the environment.
        known: the options that the service has.

    Raises:
        ConfigurationError: options that the service does not know, all at once; a secret one that Jarvis
            sets; a secret that stands in the open.
    """
    secret = secret_names(service, service.processes[process])
    settings = service.settings_in(env)
    merged = own_options(service, process, env)
    for field, part in _given(service, process, settings):
        name = f"{service.name}{field}"
        _refuse_taken(name, secret, [*part.options, *part.secret_options])
        check_secrets(name, known, part.options, part.secret_options)
        check_options(name, known, dict.fromkeys(part.secret_options, ""), "secret_options")
        check_options(name, known, part.options)
        merged |= part.options
    check_options(service.name, known, {**merged, **dict.fromkeys(secret, "")})
    return merged


def operator_secrets(service: AnyService, process: str, env: Environment) -> dict[str, str]:
    """The operator's secret options of a process of ``service``, in the clear."""
    return {
        name: text.get_secret_value()
        for _, part in _given(service, process, service.settings_in(env))
        for name, text in part.secret_options.items()
    }


def check_service(service: AnyService, env: Environment, known: OptionList) -> None:
    """Whether ``service`` heeds all its options, before there is any resource.

    Raises:
        ConfigurationError: see ``plain_options``.
    """
    for process in service.processes:
        plain_options(service, process, env, known)


def _given(service: AnyService, process: str, settings: ServiceSettings) -> list[tuple[str, ProcessSettings]]:
    """The operator's settings for a process, by their field below the service's; those of all come first."""
    own = service.settings_of(process, settings)
    return [("", settings), *([(f".{process.replace('-', '_')}", own)] if own is not settings else [])]


def _refuse_taken(name: str, secret: Iterable[str], given: Iterable[str]) -> None:
    taken = sorted(set(secret) & set(given))
    if taken:
        raise ConfigurationError(
            f"openstack.{name}: {', '.join(taken)} is secret and set by Jarvis; remove it"
        )
