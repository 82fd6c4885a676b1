"""What a run begins with: what can be said against it before anything is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pulumi

from jarvis.config import Artifacts, Environment, load_artifacts, load_environment
from jarvis.config.access import check_credentials
from jarvis.config.addresses import told
from jarvis.config.before import read_before, to_record
from jarvis.config.fixed import check_fixed
from jarvis.config.rotations import check_counters, counters
from jarvis.core import safety
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.drift import (
    DeclaredObjects,
    Drift,
    Kept,
    Objects,
    keystone_source,
    read_declared,
    read_kept,
    read_objects,
    read_registered,
    read_watch,
)
from jarvis.drift import to_record as seen_record
from jarvis.hosts.clock import check_clock
from jarvis.openstack.data import check_data
from jarvis.openstack.declared.content import Contents


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run: the environment of the stack ``env``, which knows what is deployed, the ``artifacts`` it runs,
    and the ``drift`` of what is deployed."""

    env: Environment
    artifacts: Artifacts
    drift: Drift


@asynccontextmanager
async def begun() -> AsyncIterator[Begun]:
    """Begins a run, and looks at its end whether what it has declared keeps what is deployed and protected.

    Raises ``ConfigurationError``, ``ReleaseError`` and ``ClockError``, these before there is any resource.
    """
    env = load_environment()
    watch = read_watch(pulumi.Config("jarvis").get("observe"))
    for warning in check_credentials(env, preview=pulumi.runtime.is_dry_run()):
        pulumi.log.warn(warning)
    # A server answers while the rest is read.
    clock = asyncio.ensure_future(check_clock(env))
    drift = None
    try:
        deployed = await last_deployed()
        env = env.after(read_before(deployed))
        check_fixed(env)
        check_data(env)
        check_counters(env, deployed.get("rotations", {}))
        moved = told(env.networks.virtual_address, env.before)
        if moved:
            pulumi.log.warn(moved)
        registered = read_registered(deployed)
        declared = DeclaredObjects(env, read_declared(deployed), registered, Contents())
        await declared.prepare()
        objects = Objects(env, watch, read_objects(deployed))
        drift = Drift(
            env,
            watch,
            read_kept(deployed),
            sources=[keystone_source(env, registered)],
            objects=objects,
            declared=declared if declared.declarations else None,
        )
        artifacts = await asyncio.to_thread(load_artifacts)
        await clock
        yield Begun(env=env, artifacts=artifacts, drift=drift)
        safety.check(deployed.get("kept", {}))
        if drift.objects is not None:
            drift.objects.check()
    finally:
        if drift is not None:
            await drift.end()
        clock.cancel()
        await asyncio.gather(clock, return_exceptions=True)


def record(
    env: Environment,
    known: Kept,
    registered: pulumi.Input[Mapping[str, Any]],
    objects: Mapping[str, Any] | None = None,
    declared: Mapping[str, Any] | None = None,
) -> Mapping[str, pulumi.Output[Any]]:
    """The output that tells the next run what ``env`` has deployed, once all of it is done, and what is
    ``known`` of its drift; what is ``registered`` in Keystone, with the passwords by which that is looked at;
    what is Jarvis' of ``objects`` (``Objects.left``); and the ``declared`` objects of OpenStack
    (``DeclaredObjects.left``)."""
    deployed = {
        "rotations": counters(env),
        "kept": safety.kept(),
        **to_record(env),
        **seen_record(known),
        "registered": registered,
        **(objects or {}),
        **(declared or {}),
    }
    return {OUTPUT: pulumi.Output.secret(deployed)}


async def left(run: Begun, registered: pulumi.Input[Mapping[str, Any]]) -> Mapping[str, pulumi.Output[Any]]:
    """The record of ``run``, which has done all that it declared, and ``registered`` that in Keystone."""
    objects, declared = run.drift.objects, run.drift.declared
    return record(
        run.env,
        await run.drift.known(),
        registered,
        await objects.left() if objects else None,
        declared.left() if declared else None,
    )
