"""The production example, and what its first two runs register: the longest of what several files look at."""

from __future__ import annotations

import pytest

from jarvis.config import Environment
from tests.golden.test_golden import environment_of
from tests.unit.harness import Graph
from tests.unit.runs import after, graph_of


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
