"""Which stacks a release takes: those whose resources it finds by the names that they had."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from jarvis import VERSION
from jarvis.core import deployed
from jarvis.core.deployed import OLDEST, OUTPUT, RELEASE, ReleaseError, check_release, last_deployed
from tests.unit.harness import Graph

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_and_the_program_are_of_one_release() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {OUTPUT: {"rotations": {}}},  # of the development of 0.1
        {RELEASE: "0.1.0"},  # its first `up` was not finished
        {RELEASE: "0.1.7", OUTPUT: {}},
        {RELEASE: "0.2.0", OUTPUT: {}},
        {RELEASE: "0.3.9", OUTPUT: {}},
    ],
)
def test_stacks_that_are_taken(outputs: Mapping[str, Any]) -> None:
    check_release(outputs, own="0.3.2", oldest=(0, 1))


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"api": "https://192.0.2.5:6443"}, "before Jarvis 0.1.*git checkout [0-9a-f]{7}.*pulumi up"),
        ({RELEASE: "0.4.0", OUTPUT: {}}, "by Jarvis 0.4.0, and this is 0.3.2.*Take 0.4.0 or a later one"),
        ({RELEASE: "1.0.0", OUTPUT: {}}, "Take 1.0.0 or a later one"),
        ({RELEASE: "0.1.9", OUTPUT: {}}, "0.3.2 takes stacks of 0.2 and later.*Take 0.2 first: pulumi up"),
        ({OUTPUT: {"rotations": {}}}, "by Jarvis 0.1.0, and 0.3.2 takes stacks of 0.2"),
    ],
)
def test_stacks_that_are_not_taken(outputs: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ReleaseError, match=f"(?s){words}"):
        check_release(outputs, own="0.3.2", oldest=(0, 2))


def test_a_run_ends_before_it_declares_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    async def outputs(_: str) -> Mapping[str, Any]:
        return {"outputs": {"api": "https://192.0.2.5:6443"}}

    monkeypatch.setattr(deployed, "_ask", outputs)
    monkeypatch.setattr(pulumi, "get_organization", lambda: "organization")
    monkeypatch.setattr(pulumi, "get_stack", lambda: "old")
    with pytest.raises(ReleaseError):
        asyncio.run(last_deployed())


def test_no_alias_is_older_than_the_oldest_release_that_is_taken(deployed: Graph) -> None:
    """Nothing was renamed since ``OLDEST``; the first alias that is needed comes with its release here."""
    assert OLDEST == (0, 1)
    assert {label for label, one in deployed.resources.items() if one.former} == set()
