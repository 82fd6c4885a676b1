"""Ports of a server: those that Jarvis uses, and whether configured ports are free beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jarvis.config.server import Server
from jarvis.config.types import Place
from jarvis.roles import BASE, ROLES, ServerRole
from jarvis.roles.model import Listens, Protocol, Range, Setting

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


@dataclass(frozen=True, kw_only=True)
class Use:
    """A port, or a range of ports, that Jarvis uses on a server.

    Attributes:
        first: the first port.
        last: the last port.
        whose: what uses it, for errors.
        protocol: TCP or UDP.
        always: it is listened on all the time, and so must be free before the first deployment.
    """

    first: int
    last: int
    whose: str
    protocol: Protocol
    always: bool

    def has(self, port: int, protocol: Protocol = "tcp") -> bool:
        """Whether ``port`` of ``protocol`` is within the range."""
        return protocol == self.protocol and self.first <= port <= self.last


def listens(server: Server) -> Iterator[Listens]:
    """What listens on ``server``, or may do so later, of every server and then of each role."""
    # Of two chosen ports that are one, the later has the mistake: so the order is that of the schema.
    for role in (BASE, *(ROLES[name] for name in ServerRole)):
        for one in role.listens:
            if role is BASE or server.roles & {role.name, *one.also_on}:
                yield one


def uses(server: Server) -> list[Use]:
    """The ports that Jarvis uses on ``server``, whatever the configuration says."""
    found = []
    for one in listens(server):
        for port in one.ports:
            if not isinstance(port, Setting):
                first, last = port if isinstance(port, Range) else (port, port)
                use = Use(first=first, last=last, whose=one.whose, protocol=one.protocol, always=one.always)
                found.append(use)
    return found


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A port that the configuration chose.

    Attributes:
        place: path of the field.
        port: the port.
        whose: what uses it, for errors.
        usual: the default, to suggest instead.
        protocol: TCP or UDP.
        always: as of ``Use``.
    """

    place: Place
    port: int
    whose: str
    usual: int
    protocol: Protocol = "tcp"
    always: bool = True


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
    for one in listens(server):
        for setting in one.ports:
            if isinstance(setting, Setting):
                section = type(getattr(env, setting.section))
                found.append(
                    Choice(
                        place=(setting.section, setting.name),
                        port=env.number(setting),
                        whose=one.whose,
                        usual=section.model_fields[setting.name].default,
                        protocol=one.protocol,
                        always=one.always,
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
            owners = [use.whose for use in uses(server) if use.has(choice.port, choice.protocol)]
            owners += [
                one.whose for one in before if (one.port, one.protocol) == (choice.port, choice.protocol)
            ]
            if owners:
                taken[choice.place][owners[0]].append(server.name)
            before.append(choice)
    for place, by_owner in taken.items():
        choice = chosen[place]
        text = "; ".join(f"{whose} has it on {', '.join(names)}" for whose, names in by_owner.items())
        usual = "" if choice.port == choice.usual else f", such as {choice.usual}"
        yield place, f"{choice.port} is not free for {choice.whose}: {text}. Take another one{usual}"
