"""The command itself, and the links of a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolchain import artifacts
from toolchain.__main__ import main
from toolchain.links import link
from toolchain.model import PROJECT, load_lock


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JARVIS_MIRROR", raising=False)


def test_status_names_every_tool(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[t.name, t.version] for t in load_lock().values()]
    assert sum("missing; type: make tools" in line for line in lines) == len(lines) - 1


def test_times_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["times"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


def test_failure_is_one_clear_error(tmp_path: Path) -> None:
    # No network, no mirror, an empty PATH: nothing can be had, and nothing was changed.
    environment = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_RETRIES": "0",
        "https_proxy": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "toolchain", "--state", str(tmp_path / "state"), "install"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "kubernetes 1.37.2 could not be obtained" in done.stderr
    assert "go: there is no Go to build with" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_links_follow_their_targets(tmp_path: Path) -> None:
    folder, old, new = tmp_path / "bin", tmp_path / "old", tmp_path / "new"
    link(folder, {"tool": old})
    link(folder, {"tool": old})
    assert os.readlink(folder / "tool") == str(old)
    link(folder, {"tool": new})
    assert os.readlink(folder / "tool") == str(new)
    assert [each.name for each in folder.iterdir()] == ["tool"]


def test_unchanged_list_of_artifacts_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "artifacts.json"
    artifacts.write_list({"release": 1}, file)
    before = file.stat()
    artifacts.write_list({"release": 1}, file)
    assert file.stat() == before
    artifacts.write_list({"release": 2}, file)
    assert json.loads(file.read_text()) == {"release": 2}
