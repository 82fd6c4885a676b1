"""A lab of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cli import Lab

from lab import operate

NAME = "labtool"
SUBNET = "10.99.251.0/24"


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    assert os.geteuid() == 0, "the lab and its tests need root"
    operate.clear_leftovers()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with one server that is up. Gone at the end, and with these tests' process at the latest."""
    made = Lab(NAME, SUBNET, tmp_path_factory.mktemp("lab") / NAME)
    made.ok("up", "--owner", str(os.getpid()))
    yield made
    made.ok("down")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Lab]:
    """A lab of the same name and subnet that is not up, as of another checkout."""
    made = Lab(NAME, SUBNET, tmp_path / NAME)
    yield made
    made.ok("down")
