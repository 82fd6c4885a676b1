"""Rotation counters: the secrets that ``rotations`` of an environment may count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from jarvis.config.errors import ConfigurationError
from jarvis.config.server import ServerRole
from jarvis.openstack import catalogue

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

_ONCE = (
    "database",
    "etcd-authority",
    "gateway",
    "gateway-certificate",
    "kubernetes-admin",
    "kubernetes-ca",
    "kubernetes-controller-manager",
    "kubernetes-encryption",
    "kubernetes-etcd-client",
    "kubernetes-front-proxy-ca",
    "kubernetes-front-proxy-client",
    "kubernetes-health",
    "kubernetes-kubelet-client",
    "kubernetes-operator",
    "kubernetes-proxy",
    "kubernetes-scheduler",
    "kubernetes-service-accounts",
    "queue",
    "queue-cookie",
    "registry-authority",
    "registry-client",
    "registry-pusher",
    "storage-admin",
)
# Secrets of which each server with the role has one, called <prefix>-<server>.
_BY_SERVER = {
    "database": ServerRole.DATABASE,
    "etcd": ServerRole.ETCD,
    "kubernetes-apiserver": ServerRole.CONTROL_PLANE,
    "kubernetes-kubelet": ServerRole.WORKER,
    "queue": ServerRole.QUEUE,
    "registry": ServerRole.REGISTRY,
}


def secret_names(env: Environment) -> Iterator[str]:
    """The name of every secret of ``env`` that has a counter. The golden graphs hold the components to it."""
    yield from sorted([*_ONCE, *catalogue.counters(env)])
    for prefix, role in _BY_SERVER.items():
        # The counters of a lost server stay valid.
        for server in env.declared(role):
            yield f"{prefix}-{server.name}"


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


# Secrets on a server of each role that other servers share, and authorities whose second rotation makes the
# server's certificates worthless.
_HELD = {
    ServerRole.WORKER: ("kubernetes-ca", "registry-authority"),
    ServerRole.CONTROL_PLANE: (
        "kubernetes-ca",
        "kubernetes-front-proxy-ca",
        "kubernetes-encryption",
        "kubernetes-service-accounts",
        "etcd-authority",
    ),
    ServerRole.ETCD: ("etcd-authority",),
    ServerRole.REGISTRY: ("registry-authority",),
    ServerRole.DATABASE: ("database",),
    ServerRole.QUEUE: ("queue", "queue-cookie"),
    ServerRole.STORAGE: ("glance-ceph", "storage-admin"),
}


def held(roles: Iterable[ServerRole]) -> list[str]:
    """The counters to raise after the theft of a server with ``roles``.

    Raised twice, with an ``up`` in between, what the server holds opens nothing, from wherever.
    """
    return sorted({name for role in roles for name in _HELD.get(role, ())})
