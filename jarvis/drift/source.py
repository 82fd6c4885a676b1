"""Sources of findings beside the servers, such as Kubernetes and Keystone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jarvis.drift.ask import Looked


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something beside the servers that is asked for drift.

    Attributes:
        name: stands for the server in findings and in the record. It begins with a capital letter, which no
            server's name does.
        look: asks the source. Its answer names ``name`` alone, with each resource that can have findings.
        required: the source's silence ends a run, as a server's does. Otherwise it is a warning.
        needs: host roles without which the source does not answer. Where one of them has findings, silence
            ends no run, since that run mends them.
    """

    name: str
    look: Callable[[], Coroutine[Any, Any, Looked]]
    required: bool = False
    needs: frozenset[str] = frozenset()


async def look_at(sources: Sequence[Source]) -> Looked:
    """Asks all ``sources`` side by side, and merges their answers."""
    answers = await asyncio.gather(*(source.look() for source in sources))
    return Looked(
        found={name: found for looked in answers for name, found in looked.found.items()},
        silent={name: why for looked in answers for name, why in looked.silent.items()},
    )


def not_looked_at(silent: Mapping[str, str]) -> list[str]:
    """A warning for each source that could not be asked.

    Args:
        silent: why, by source.
    """
    return [f"{name}: what Jarvis made there was not looked at: {why}" for name, why in silent.items()]


def ends_run(sources: Sequence[Source], servers: Looked, others: Looked) -> dict[str, str]:
    """The sources whose silence ends a run.

    Args:
        sources: all that were asked.
        servers: what the servers answered.
        others: what the sources answered.

    Returns:
        Why the source could not be asked, by name of the source.
    """
    differ = {role for roles in servers.found.values() for role, sentences in roles.items() if sentences}
    return {
        one.name: others.silent[one.name]
        for one in sources
        if one.required and one.name in others.silent and not one.needs & differ
    }


def silence(silent: Mapping[str, str]) -> str:
    """The error for sources that could not be asked, with what to type.

    Args:
        silent: why, by source; not empty.
    """
    lines = "\n".join(f"  {why}" for why in silent.values())
    return (
        f"{' and '.join(silent)} could not be asked what was changed there; nothing has been changed:\n"
        f"{lines}\nmend that, or go on without it: pulumi config set jarvis:observe lenient"
    )
