"""What the declaration of a server role can say.

Declarations are data: they name other roles, fields of the configuration and secrets by their names, and
import nothing of Jarvis but this module. ``jarvis.config`` and ``jarvis.hosts`` go through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

Protocol = Literal["tcp", "udp"]


class Source(Enum):
    """Who may connect, beside servers with a role."""

    SERVERS = "all servers"
    PODS = "the pod network"
    CLIENTS = "firewall.clients"
    OPERATORS = "firewall.operators, or everyone where there are none"
    EVERYONE = "everyone"


class Range(NamedTuple):
    """Ports from ``first`` to ``last``, both included."""

    first: int
    last: int


class Setting(NamedTuple):
    """A field of the configuration that has a number: ``section.name`` of an environment."""

    section: str
    name: str


class Pinned(NamedTuple):
    """A package of Debian of which only some versions may be installed.

    ``series`` is how those versions begin, as Debian writes them, with the epoch and a sign after the last
    number: ``3.1.`` has 3.1.0-2 and not 3.10.0-1, ``1:10.11.`` is MariaDB's of Debian 12.
    """

    name: str
    series: str


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the firewall lets in. Ports with the same opening share one rule.

    Attributes:
        use: what for, as the rule's comment.
        sources: who may connect: names of roles, for the servers that have one of them, and ``Source``.
    """

    use: str
    sources: tuple[str | Source, ...]


@dataclass(frozen=True, kw_only=True)
class Listens:
    """Ports that a role listens on.

    Attributes:
        whose: what listens, for errors.
        ports: numbers, ranges, and fields of the configuration that have the number.
        protocol: TCP or UDP.
        always: it listens all the time, and so the port must be free before the first deployment.
        opening: who may connect from elsewhere; ``None`` is nobody.
        also_on: names of roles whose servers keep these ports free too.
    """

    whose: str
    ports: tuple[int | Range | Setting, ...]
    protocol: Protocol = "tcp"
    always: bool = True
    opening: Opening | None = None
    also_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class User:
    """A system user.

    Attributes:
        name: its name, and that of its group.
        home: its home, which is not created.
    """

    name: str
    home: str


@dataclass(frozen=True, kw_only=True)
class Sysctl:
    """A kernel setting.

    Attributes:
        name: its name, with dots.
        value: its value.
        why: why it can have no other value, for errors; empty where a server's own ``sysctls`` may change it.
    """

    name: str
    value: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class HostRole:
    """All that follows from a server's role, beside the resources that deploy it.

    Attributes:
        name: its name in ``servers[].roles``.
        required: every environment has a server with the role. What an environment does not use of a role
            that is not required adds nothing to it, so that a new role changes no cloud that is there.
        quorum: more than half of its servers must be left, and their number is odd.
        needs: names of roles that a server with this one has too.
        packages: names of Debian's packages; ``Pinned`` where the role was written for certain versions.
        users: system users. Those of required roles are on every server: clouds have had them so.
        modules: kernel modules to load at boot.
        sysctls: kernel settings.
        listens: ports, and who may connect.
        memory: fields of the configuration with MiB that a server takes for the role.
        secrets: names of secrets with a rotation counter of which a cloud has one.
        server_secrets: likewise those of which each server has one, called ``<name>-<server>``.
        held: counters to raise after the theft of a server: of secrets that it shares with other servers, and
            of authorities whose second rotation makes its certificates worthless.
    """

    name: str
    required: bool = False
    quorum: bool = False
    needs: tuple[str, ...] = ()
    packages: tuple[str | Pinned, ...] = ()
    users: tuple[User, ...] = ()
    modules: tuple[str, ...] = ()
    sysctls: tuple[Sysctl, ...] = ()
    listens: tuple[Listens, ...] = ()
    memory: tuple[Setting, ...] = ()
    secrets: tuple[str, ...] = ()
    server_secrets: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
