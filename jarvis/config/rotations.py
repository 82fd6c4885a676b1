"""Rotation counters: the secrets that ``rotations`` of an environment may count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from jarvis.config.errors import ConfigurationError
from jarvis.openstack import catalogue
from jarvis.roles import ROLES, ServerRole, declared

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


def secret_names(env: Environment) -> Iterator[str]:
    """The name of every secret of ``env`` that has a counter. The golden graphs hold the components to it."""
    yield from sorted([*catalogue.counters(env), *_of_roles(env)])
    prefixes = [(prefix, name) for name, role in ROLES.items() for prefix in role.server_secrets]
    for prefix, name in sorted(prefixes):
        # The counters of a lost server stay valid.
        for server in env.declared(name):
            yield f"{prefix}-{server.name}"


def _of_roles(env: Environment) -> Iterator[str]:
    """Secrets of which a cloud has one, of each role that ``env`` must have, or has."""
    for name, role in ROLES.items():
        if role.required or env.declared(name):
            yield from role.secrets


def counters(env: Environment) -> dict[str, int]:
    """Every counter of ``env`` by the secret's name, those at 0 included."""
    return {name: env.rotations.get(name, 0) for name in secret_names(env)}


def check_counters(env: Environment, deployed: Mapping[str, float]) -> None:
    """Compares the counters of ``env`` with the deployed ones. A secret without a deployed counter is new.

    Args:
        env: the environment.
        deployed: counters by the secret's name.

    Raises:
        ConfigurationError: counters go down, or up by more than one. It lists all of them.
    """
    mistakes = []
    for name, now in counters(env).items():
        before = int(deployed.get(name, now))
        if now < before:
            mistakes.append(
                f"  rotations.{name}: {before} is deployed, and {now} is less; a counter only goes up, to"
                f" {before + 1} for a new secret"
            )
        elif now > before + 1:
            mistakes.append(
                f"  rotations.{name}: {before} is deployed, and {now} is more than one further: who holds"
                f" {before} would be refused; {before + 1} first, `pulumi up`, then the next"
            )
    if mistakes:
        text = "\n".join(mistakes)
        raise ConfigurationError(f"counters of rotations go up by one; nothing has been changed:\n{text}")


def held(env: Environment, roles: Iterable[ServerRole]) -> list[str]:
    """The counters of ``env`` to raise after the theft of a server with ``roles``.

    Raised twice, with an ``up`` in between, what the server holds opens nothing, from wherever.
    """
    found = {name for role in declared(roles) for name in role.held}
    if ServerRole.STORAGE in roles:
        # The monitors know the keys of all clients.
        found |= {f"{use.client}-ceph" for one in catalogue.enabled(env) for use in one.ceph}
    return sorted(found)
