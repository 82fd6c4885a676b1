"""Fixtures of the plugins' tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi_cli import TOOLS, Stack


@pytest.fixture(scope="session")
def pulumi_tools() -> Path:
    """The folder with pulumi and its Python language host: this checkout's, or the one on PATH."""
    if (TOOLS / "pulumi").exists():
        return TOOLS
    found = shutil.which("pulumi")
    if found is None:
        pytest.fail("no pulumi here; make it with: make tools")
    return Path(found).parent


@pytest.fixture
def make_stack(tmp_path: Path, pulumi_tools: Path) -> Callable[[str], Stack]:
    """A function that makes a stack, given a folder name."""
    return lambda name: Stack(tmp_path / name, pulumi_tools)


@pytest.fixture
def stack(make_stack: Callable[[str], Stack]) -> Stack:
    """A fresh stack."""
    return make_stack("stack")
