"""What every unit test finds."""

from __future__ import annotations

import asyncio

import pytest

from jarvis.config.safety import Safety
from jarvis.core.safety import begin


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begins each test as a process begins, before any fixture is made: nothing is declared or protected, and
    there is an event loop, which Outputs take without asking. Of the test before, the safety of a stack
    would hold; and `asyncio.run` leaves no loop."""
    begin(Safety(protect=False))
    try:
        # Where there has never been one, the policy makes it.
        usable = not asyncio.get_event_loop_policy().get_event_loop().is_closed()
    except RuntimeError:
        usable = False
    if not usable:
        asyncio.set_event_loop(asyncio.new_event_loop())
