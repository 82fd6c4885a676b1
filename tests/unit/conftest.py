"""What every unit test finds: a process at its beginning; and what the production example's first two runs
register, the longest of what several files look at."""

from __future__ import annotations

import asyncio

import pytest

from jarvis.config import Environment
from jarvis.config.safety import Safety
from jarvis.core.safety import begin
from tests.golden.test_golden import environment_of
from tests.unit.harness import Graph
from tests.unit.runs import after, graph_of


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


@pytest.fixture(scope="session")
def production(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """With workers that are no gateways: their pods find OpenStack by the virtual address."""
    return environment_of("production", tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def deployed(production: Environment) -> Graph:
    """What a new stack registers."""
    return graph_of(production)


@pytest.fixture(scope="session")
def unchanged(production: Environment) -> Graph:
    """The same in the run that follows, with nothing changed."""
    return graph_of(after(production, production))
