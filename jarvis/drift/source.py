"""What is asked beside the servers, such as Kubernetes and Keystone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jarvis.drift.ask import Looked


@dataclass(frozen=True, kw_only=True)
class Source:
    """Something beside the servers that is asked.

    - ``name``: stands for the server in findings and in the record. No server may be called so: it begins
      with a capital letter.
    - ``look``: asks. What it returns names nothing but ``name``, and each resource that can be found to
      differ.
    - ``required``: whether its silence ends a run, as that of a server does. Otherwise it is a warning.
    - ``needs``: host roles without which it does not answer. Where something was found of one of them, the
      run that its silence would end is what mends it.
    """

    name: str
    look: Callable[[], Coroutine[Any, Any, Looked]]
    required: bool = False
    needs: frozenset[str] = frozenset()


async def look_at(sources: Sequence[Source]) -> Looked:
    """What all ``sources`` say, asked side by side."""
    answers = await asyncio.gather(*(source.look() for source in sources))
    return Looked(
        found={name: found for looked in answers for name, found in looked.found.items()},
        silent={name: why for looked in answers for name, why in looked.silent.items()},
    )


def not_looked_at(silent: Mapping[str, str]) -> list[str]:
    """A warning for each source that is ``silent``."""
    return [f"{name}: what Jarvis made there was not looked at: {why}" for name, why in silent.items()]


def ends_run(sources: Sequence[Source], servers: Looked, others: Looked) -> dict[str, str]:
    """Those of ``sources`` whose silence ends a run, with the reason. ``servers``: what these said;
    ``others``: what the sources did."""
    differ = {role for roles in servers.found.values() for role, sentences in roles.items() if sentences}
    return {
        one.name: others.silent[one.name]
        for one in sources
        if one.required and one.name in others.silent and not one.needs & differ
    }


def silence(silent: Mapping[str, str]) -> str:
    """That sources could not be asked, and what to type."""
    lines = "\n".join(f"  {why}" for why in silent.values())
    return (
        f"{' and '.join(silent)} could not be asked what was changed there; nothing has been changed:\n"
        f"{lines}\nmend that, or go on without it: pulumi config set jarvis:observe lenient"
    )
