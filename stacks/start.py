"""What a run begins with: all that can be said against it before there is any resource."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from jarvis.config import Artifacts, Environment, load_artifacts, load_environment
from jarvis.config.rotations import check_counters, counters
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.hosts.clock import check_clock


async def start() -> tuple[Environment, Artifacts]:
    """The environment of the stack and the artifacts it runs, compared with the servers' clocks and with what
    is deployed.

    Raises ``ConfigurationError`` and ``ClockError``.
    """
    env = load_environment()
    # Servers answer while the rest is read.
    clock = asyncio.ensure_future(check_clock(env))
    try:
        check_counters(env, (await last_deployed()).get("rotations", {}))
        artifacts = await asyncio.to_thread(load_artifacts)
    finally:
        await clock
    return env, artifacts


def record(env: Environment) -> Mapping[str, object]:
    """The output that tells the next run what ``env`` has deployed, once all of it is done."""
    return {OUTPUT: {"rotations": counters(env)}}
