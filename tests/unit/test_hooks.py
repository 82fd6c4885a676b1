"""The hooks of Git run the parts of `make check`, and miss none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]


def hooks() -> list[dict[str, Any]]:
    [repository] = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    found: list[dict[str, Any]] = repository["hooks"]
    return found


def test_each_part_of_the_gate_has_a_hook() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    [parts] = re.findall(r"^check: ([a-z ]+?) *##", makefile, re.MULTILINE)
    assert [hook["entry"] for hook in hooks()] == [f"make {part}" for part in parts.split()]


@pytest.mark.parametrize(
    ("words", "status"), [("true && true", 0), ("false && true", 2), ("true && false", 2)]
)
def test_a_step_fails_with_any_of_its_commands(words: str, status: int) -> None:
    rule = f"include {PROJECT}/Makefile\n.PHONY: probe\nprobe:\n\t$(call step,probe,{words})\n"
    done = subprocess.run(
        ["make", "--file=-", "probe"], input=rule, capture_output=True, text=True, check=False, cwd=PROJECT
    )
    assert done.returncode == status, done.stdout + done.stderr


def test_hooks_look_at_the_whole_checkout_with_its_own_tools() -> None:
    for hook in hooks():
        assert (hook["language"], hook["pass_filenames"]) == ("system", False), hook["id"]


def test_a_commit_does_not_wait_for_tests() -> None:
    assert [hook["id"] for hook in hooks() if hook.get("stages") == ["pre-push"]] == ["gate"]
