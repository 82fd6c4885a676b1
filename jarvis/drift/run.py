"""The drift of servers and other sources that a run of the program knows: found now, and found before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pulumi

from jarvis.config import Environment, Server
from jarvis.drift.ask import Looked, SilentError, Watch, deployed, look
from jarvis.drift.declared import Objects as DeclaredObjects
from jarvis.drift.objects import Objects
from jarvis.drift.seen import Kept, after
from jarvis.drift.source import Source, ends_run, look_at, not_looked_at, silence

Look = Callable[[Environment, Sequence[Server]], Coroutine[Any, Any, Looked]]


class Drift:
    """Asks servers and other sources for drift, from its construction on, while the program goes on.

    Args:
        env: the environment, which knows what is deployed. Where nothing is, nobody is asked.
        watch: the value of ``jarvis:observe``.
        kept: what the last finished ``up`` knew.
        ask: asks the servers; by default ``look``.
        sources: what else is asked.
        objects: the objects of Kubernetes, which is one source more; ``None`` where it is not asked.
        declared: OpenStack's objects that the environment declares, likewise.

    Attributes:
        objects: as given.
        declared: as given.
    """

    def __init__(
        self,
        env: Environment,
        watch: Watch,
        kept: Kept,
        ask: Look | None = None,
        sources: Sequence[Source] = (),
        objects: Objects | None = None,
        declared: DeclaredObjects | None = None,
    ) -> None:
        self._watch = watch
        self.objects, self.declared = objects, declared
        self._sources = [one.source for one in (objects, declared) if one is not None]
        self._sources += sources
        # A server that left has no roles any more; one of its name that comes has new ones.
        here = {server.name for server in env.present} | {source.name for source in self._sources}
        self._known: Kept = {name: roles for name, roles in kept.items() if name in here}
        servers = [] if watch is Watch.FALSE else deployed(env)
        self._asked = asyncio.ensure_future((ask or look)(env, servers)) if servers else None
        # Where no server is deployed nothing else is.
        self._others = asyncio.ensure_future(look_at(self._sources)) if servers else None
        self._told = False

    async def known(self) -> Kept:
        """Waits for all answers, and warns once of each finding and of whatever could not be asked.

        Returns:
            What is known of each role by server, and of each resource by source.

        Raises:
            SilentError: a server, or a required source, does not answer, and may not be passed over
                (``Watch.LENIENT``).
        """
        if self._asked is not None and self._others is not None and not self._told:
            looked = await self._asked
            if looked.silent and self._watch is not Watch.LENIENT:
                raise SilentError(looked.error())
            for server, why in looked.silent.items():
                pulumi.log.warn(f"{server}: what is on it was not looked at: {why}")
            for server, roles in looked.found.items():
                if not roles:
                    pulumi.log.warn(
                        f"{server}: nothing of Jarvis is on it; if its disk was wiped, see docs/operating.md,"
                        " A server whose disk was wiped or replaced"
                    )
            others = await self._others
            ends = {} if self._watch is Watch.LENIENT else ends_run(self._sources, looked, others)
            passed = {name: why for name, why in others.silent.items() if name not in ends}
            for line in (*not_looked_at(passed), *looked.lines(), *others.lines()):
                pulumi.log.warn(line)
            if ends:
                raise SilentError(silence(ends))
            self._told = True
            self._known = after(self._known, {**looked.found, **others.found})
        return self._known

    async def end(self) -> None:
        """Cancels what is still being asked."""
        for task in (self._asked, self._others):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
