"""What a run begins with: all that can be said against it before there is any resource."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi

from jarvis.config import Artifacts, Environment, load_artifacts, load_environment
from jarvis.config.rotations import check_counters, counters
from jarvis.core import safety
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.hosts.clock import check_clock


async def start() -> tuple[Environment, Artifacts, Mapping[str, Any]]:
    """The environment of the stack and the artifacts it runs, compared with the servers' clocks and with what
    is deployed; and that.

    Raises ``ConfigurationError`` and ``ClockError``.
    """
    env = load_environment()
    # Servers answer while the rest is read.
    clock = asyncio.ensure_future(check_clock(env))
    try:
        deployed = await last_deployed()
        check_counters(env, deployed.get("rotations", {}))
        artifacts = await asyncio.to_thread(load_artifacts)
    finally:
        await clock
    return env, artifacts, deployed


def check_kept(deployed: Mapping[str, Any]) -> None:
    """Whether the program that has been built keeps what is ``deployed`` and protected.

    Raises ``ConfigurationError``.
    """
    safety.check(deployed.get("kept", {}))


def record(env: Environment) -> Mapping[str, pulumi.Output[Any]]:
    """The output that tells the next run what ``env`` has deployed, once all of it is done. It is called a
    secret only so that the CLI, which shows outputs, shows a word and no page."""
    return {OUTPUT: pulumi.Output.secret({"rotations": counters(env), "kept": safety.kept()})}
