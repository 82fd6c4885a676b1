"""What a run of the program knows of its servers and objects: what is found now, and what was before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pulumi

from jarvis.config import Environment, Server
from jarvis.drift.ask import Looked, SilentError, Watch, deployed, look
from jarvis.drift.objects import Objects
from jarvis.drift.seen import Kept, after

# Roles without which the API does not answer.
_OF_THE_API = ("etcd", "kube-apiserver")
Look = Callable[[Environment, Sequence[Server]], Coroutine[Any, Any, Looked]]


class Drift:
    """Asks the servers of ``env`` from its making on, while the program goes on.

    Args:
        env: the environment, which knows what is deployed. Where nothing is, nobody is asked.
        watch: the configuration's ``jarvis:observe``.
        kept: what the last finished ``up`` knew.
        ask: how servers are asked, by default ``look``.
        objects: of Kubernetes, whose API is asked beside the servers; ``None`` where it is not.
    """

    def __init__(
        self,
        env: Environment,
        watch: Watch,
        kept: Kept,
        ask: Look | None = None,
        objects: Objects | None = None,
    ) -> None:
        self._watch = watch
        self.objects = objects
        # A server that left has no roles any more; one of its name that comes has new ones.
        here = {server.name for server in env.present}
        self._known: Kept = {name: roles for name, roles in kept.items() if name in here}
        servers = [] if watch is Watch.FALSE else deployed(env)
        self._asked = asyncio.ensure_future((ask or look)(env, servers)) if servers else None
        self._told = False

    async def known(self) -> Kept:
        """What is known of each role, by server, once all have answered, Kubernetes' API too. Each finding is
        told as a warning.

        Raises ``SilentError`` where a server, or the API, does not answer, unless that may be passed over.
        """
        explained = False
        if self._asked is not None and not self._told:
            looked = await self._asked
            if looked.silent and self._watch is not Watch.LENIENT:
                raise SilentError(looked.error())
            self._told = True
            for server, why in looked.silent.items():
                pulumi.log.warn(f"{server}: what is on it was not looked at: {why}")
            for server, roles in looked.found.items():
                if not roles:
                    pulumi.log.warn(
                        f"{server}: nothing of Jarvis is on it; if its disk was wiped, see docs/operating.md,"
                        " A server whose disk was wiped or replaced"
                    )
            for line in looked.lines():
                pulumi.log.warn(line)
            self._known = after(self._known, looked.found)
            # What is stopped is started by the run that this would end.
            explained = any(roles.get(role) for roles in looked.found.values() for role in _OF_THE_API)
        if self.objects is not None:
            await self.objects.known(explained=explained)
        return self._known

    async def end(self) -> None:
        """Waits for nobody any more."""
        if self.objects is not None:
            await self.objects.end()
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)
