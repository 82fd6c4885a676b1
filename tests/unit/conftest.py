"""What every unit test finds."""

from __future__ import annotations

import asyncio

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """An event loop that can be used, which Outputs take without asking, before any fixture is made:
    `asyncio.run` of the test before has left none, and others a closed one."""
    try:
        # Where there has never been one, the policy makes it.
        usable = not asyncio.get_event_loop_policy().get_event_loop().is_closed()
    except RuntimeError:
        usable = False
    if not usable:
        asyncio.set_event_loop(asyncio.new_event_loop())
