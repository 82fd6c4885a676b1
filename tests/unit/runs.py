"""Runs of a whole stack, the first and those that follow it: what each registers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from jarvis.config import Environment
from jarvis.config.before import read_before, to_record
from jarvis.config.safety import Safety
from jarvis.core.safety import begin
from jarvis.drift import Drift
from stacks.cloud import build
from tests.golden.test_golden import artifacts
from tests.unit import harness
from tests.unit.harness import Graph, record


def generated(original: Callable[..., str], name: str, inputs: Mapping[str, Any]) -> str:
    """As the harness', with certificates that differ by the addresses they are for."""
    made = original(name, inputs)
    if not made.startswith("{"):
        return made
    addresses = json.loads(inputs["stdin"]).get("addresses", [])
    found = json.loads(made)
    return json.dumps({key: f"{value}{''.join(addresses)}" for key, value in found.items()})


def graph_of(env: Environment, stack: str = "production", drift: Callable[[], Drift] | None = None) -> Graph:
    """What a run of ``stack`` with ``env`` registers. ``drift`` is called once the run has begun."""
    original = harness.generated
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        patch.setattr(harness, "generated", partial(generated, original))
        try:
            return record(lambda: build(env, artifacts(), drift() if drift else None), stack)
        finally:
            # The test that asks for it declares what it protects itself.
            begin(Safety(protect=False))


def after(env: Environment, was: Environment) -> Environment:
    """``env`` in the run that follows the one of ``was``."""
    return env.after(read_before(to_record(was)))
