"""The limit of the machine that a lab raises, and the tools it starts servers with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab import kernel, limits, machine
from lab.shell import LabError


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")
    monkeypatch.setattr(limits, "LIMIT", file)
    monkeypatch.setattr(limits, "SAVED", tmp_path / "saved")
    return file


def test_the_limit_is_raised_once_and_put_back(limit: Path) -> None:
    assert limits.widen()
    assert int(limit.read_text()) == limits.ENOUGH
    assert not limits.widen()
    assert limits.restore()
    assert int(limit.read_text()) == 128
    assert not limits.restore()


def test_a_limit_that_is_high_enough_is_left_alone(limit: Path) -> None:
    limit.write_text("8192\n")
    assert not limits.widen()
    assert not limits.restore()
    assert int(limit.read_text()) == 8192


def test_what_somebody_set_meanwhile_is_left_alone(limit: Path) -> None:
    limits.widen()
    limit.write_text("4096\n")
    assert not limits.restore()
    assert int(limit.read_text()) == 4096


@pytest.mark.parametrize(
    ("tools", "version", "expected"),
    [
        ({"runc", "crun"}, 1, "runc"),
        ({"runc", "crun"}, 2, "runc"),
        ({"crun"}, 2, "crun"),
    ],
)
def test_the_runtime_fits_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: set[str], version: int, expected: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name in tools else None)
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    if version == 2:
        (tmp_path / "cgroup.controllers").touch()
    assert machine.runtime() == expected


def test_crun_alone_is_refused_on_cgroup_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "crun" else None)
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    with pytest.raises(LabError, match="install runc"):
        machine.runtime()


def test_memory_is_read_on_cgroup_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "jarvis-lab" / "box"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1000\n")
    (group / "memory.max").write_text("4096\n")
    (group / "memory.stat").write_text("anon 300\ninactive_file 600\n")
    monkeypatch.setattr(kernel, "CGROUPS", tmp_path)
    assert kernel.memory("0::/jarvis-lab/box/init.scope\n") == (400, 4096)
    assert kernel.memory("0::/elsewhere\n") == (0, 0)
