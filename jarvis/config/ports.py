"""TCP ports of a server: those that Jarvis uses, and whether configured ports are free beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jarvis.config.server import Server, ServerRole
from jarvis.config.types import Place

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


@dataclass(frozen=True, kw_only=True)
class Use:
    """A port, or a range of ports, that Jarvis uses on some servers.

    Attributes:
        first: the first port.
        whose: what uses it, for errors.
        roles: servers with one of these roles; every server where there are none.
        last: the last port of a range; 0 for a single port.
        always: it is listened on all the time, and so must be free before the first deployment.
    """

    first: int
    whose: str
    roles: frozenset[ServerRole] = frozenset()
    last: int = 0
    always: bool = True

    def has(self, port: int) -> bool:
        """Whether ``port`` is within the range."""
        return self.first <= port <= (self.last or self.first)


def _uses(whose: str, *ports: int, roles: Sequence[ServerRole] = (), always: bool = True) -> list[Use]:
    return [Use(first=port, whose=whose, roles=frozenset(roles), always=always) for port in ports]


# Ports as in each part's own documentation, except where Jarvis moves one:
# https://kubernetes.io/docs/reference/networking/ports-and-protocols/,
# https://etcd.io/docs/v3.6/op-guide/configuration/, https://www.rabbitmq.com/docs/networking,
# https://docs.ceph.com/en/pacific/rados/configuration/network-config-ref/,
# https://mariadb.com/docs/galera-cluster/reference/galera-cluster-ports
USES = [
    *_uses("the proxy to the database", 3306),
    *_uses("the proxy to the queue", 5671),
    *_uses("systemd-resolved", 53, always=False),
    *_uses("etcd", 2379, 2380, 2381, roles=[ServerRole.ETCD]),
    *_uses("the API server", 6443, roles=[ServerRole.CONTROL_PLANE]),
    # On gateways without an API server the proxy serves the API under the virtual address.
    *_uses("the proxy to the API servers", 6443, roles=[ServerRole.GATEWAY], always=False),
    *_uses("the controller manager", 10257, roles=[ServerRole.CONTROL_PLANE]),
    *_uses("the scheduler", 10259, roles=[ServerRole.CONTROL_PLANE]),
    *_uses("the proxy to the API servers", 7443, roles=[ServerRole.WORKER]),
    *_uses("the kubelet", 10248, 10250, roles=[ServerRole.WORKER]),
    *_uses("kube-proxy", 10249, 10256, roles=[ServerRole.WORKER]),
    *_uses("the database", 3307, 3308, 3309, 4567, roles=[ServerRole.DATABASE]),
    # Open only while a member receives what it missed.
    *_uses("the database", 4444, 4568, roles=[ServerRole.DATABASE], always=False),
    *_uses("the storage", 3300, roles=[ServerRole.STORAGE]),
    *_uses("the storage", 6789, roles=[ServerRole.STORAGE], always=False),
    Use(first=6800, last=7300, whose="the storage", roles=frozenset([ServerRole.STORAGE]), always=False),
    *_uses("the queue", 5673, 25672, roles=[ServerRole.QUEUE]),
    *_uses("the queue", 4369, roles=[ServerRole.QUEUE], always=False),
    Use(
        first=35672, last=35682, whose="the queue's tools", roles=frozenset([ServerRole.QUEUE]), always=False
    ),
]


def uses(server: Server) -> list[Use]:
    """The ports that Jarvis uses on ``server``, whatever the configuration says."""
    return [use for use in USES if not use.roles or use.roles & server.roles]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A port that the configuration chose.

    Attributes:
        place: path of the field.
        port: the port.
        whose: what uses it, for errors.
        usual: the default, to suggest instead.
    """

    place: Place
    port: int
    whose: str
    usual: int


def choices(env: Environment, server: Server) -> list[Choice]:
    """The ports that the configuration chose for ``server``."""
    at = [one.name for one in env.servers].index(server.name)
    own = server.port is not None
    found = [
        Choice(
            place=("servers", at, "port") if own else ("ssh", "port"),
            port=server.port or env.ssh.port,
            whose="SSH",
            usual=22,
        )
    ]
    if ServerRole.REGISTRY in server.roles:
        found.append(
            Choice(place=("registry", "port"), port=env.registry.port, whose="the registry", usual=5000)
        )
    if ServerRole.WORKER in server.roles:
        found.append(
            Choice(
                place=("gateway", "https_port"), port=env.gateway.https_port, whose="the gateway", usual=443
            )
        )
    return found


def ports(env: Environment) -> Iterator[tuple[Place, str]]:
    """Configured ports of ``env`` that are taken on a server, one sentence for each field."""
    taken: dict[Place, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    chosen: dict[Place, Choice] = {}
    for server in env.servers:
        before: list[Choice] = []
        for choice in choices(env, server):
            chosen[choice.place] = choice
            owners = [use.whose for use in uses(server) if use.has(choice.port)]
            owners += [one.whose for one in before if one.port == choice.port]
            if owners:
                taken[choice.place][owners[0]].append(server.name)
            before.append(choice)
    for place, by_owner in taken.items():
        choice = chosen[place]
        text = "; ".join(f"{whose} has it on {', '.join(names)}" for whose, names in by_owner.items())
        usual = "" if choice.port == choice.usual else f", such as {choice.usual}"
        yield place, f"{choice.port} is not free for {choice.whose}: {text}. Take another one{usual}"
