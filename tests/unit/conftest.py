"""What every unit test finds: a process at its beginning; and what the production example's first two runs
register, the longest of what several files look at."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

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


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the program warns of."""
    told: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", told.append)
    return told


@pytest.fixture
def ssh_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that puts ``script`` first on the path as ``ssh``, beside a file for each of the servers s1,
    s2, … with how it answers, and returns their folder."""

    def make(script: str, *answers: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "ssh").write_text(script)
        (folder / "ssh").chmod(0o755)
        for at, text in enumerate(answers, 1):
            (folder / f"s{at}").write_text(text)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    return make


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
