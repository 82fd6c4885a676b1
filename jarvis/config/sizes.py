"""Checks that what is asked for fits into the servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jarvis.config.server import Server
from jarvis.config.types import Place
from jarvis.roles import declared

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


def taken_mib(env: Environment, server: Server) -> dict[str, int]:
    """Memory that parts of ``server`` take for good, in MiB by field.

    An osd is none of them: it keeps to its target only as well as it can.
    """
    return {
        f"{setting.section}.{setting.name}": env.number(setting)
        for role in declared(server.roles)
        for setting in role.memory
    }


def least_memory_mib(env: Environment, server: Server) -> int:
    """The memory that ``server`` must have, in MiB. Preflight compares it with what is there."""
    return max(env.preflight.min_memory_mib, sum(taken_mib(env, server).values()))


def sizes(env: Environment) -> Iterator[tuple[Place, str]]:
    """Fields of ``env`` that ask for more memory than its servers are said to have at least.

    Where nothing is said of that, preflight looks at the servers themselves.
    """
    if "min_memory_mib" not in env.preflight.model_fields_set:
        return
    has = env.preflight.min_memory_mib
    told: set[str] = set()
    for server in env.servers:
        taken = taken_mib(env, server)
        if sum(taken.values()) <= has or not taken:
            continue
        field = max(taken, key=lambda each: taken[each])
        if field not in told:
            told.add(field)
            section, _, name = field.partition(".")
            both = " and ".join(f"{each} {size}" for each, size in taken.items())
            yield (
                (section, name),
                f"{both} do not fit into the {has} MiB that each server has at least"
                " (preflight.min_memory_mib): less here, or more there where the servers have it",
            )
