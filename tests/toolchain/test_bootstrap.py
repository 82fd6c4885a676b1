"""The bootstrap of a machine, in a folder of its own with stand-ins for dpkg, apt and Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from toolchain.model import HERE


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the bootstrap alone: two packages, and an environment that is up to date."""
    folder = tmp_path / "checkout"
    (folder / "toolchain").mkdir(parents=True)
    shutil.copy(HERE / "bootstrap.sh", folder / "toolchain")
    (folder / "toolchain" / "apt.txt").write_text("# a comment\npodman\n\nskopeo  # why\n")
    (folder / "requirements.txt").write_text("pydantic==2\n")
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def stand_in(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


def with_environment(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    stand_in(checkout / ".venv" / "bin", "python", "exit 0")
    digest = hashlib.sha256((checkout / "requirements.txt").read_bytes()).hexdigest()
    (checkout / ".venv" / ".bootstrap").write_text(f"{digest}  -")


def bootstrap(checkout: Path, programs: Path, *lists: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(checkout), **more}
    command = ["bash", checkout / "toolchain" / "bootstrap.sh", *lists]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_nothing_missing_says_nothing(checkout: Path, programs: Path) -> None:
    stand_in(programs, "dpkg-query", "printf 'installed podman\\ninstalled skopeo\\n'")
    stand_in(programs, "apt-get", "exit 1")
    with_environment(checkout)
    done = bootstrap(checkout, programs)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_further_list_is_of_those_who_name_it(checkout: Path, programs: Path, tmp_path: Path) -> None:
    log, more = tmp_path / "log", tmp_path / "more.txt"
    more.write_text("# a comment\nqemu\n")
    stand_in(programs, "dpkg-query", "printf 'installed podman\\ninstalled skopeo\\n'")
    stand_in(programs, "apt-get", f'echo "$*" >> {log}')
    stand_in(programs, "id", "echo 0")
    with_environment(checkout)
    assert bootstrap(checkout, programs).returncode == 0
    assert not log.exists()
    assert bootstrap(checkout, programs, str(more)).returncode == 0
    assert log.read_text().splitlines()[-1].endswith(" qemu")


def test_missing_packages_are_installed_and_only_those(
    checkout: Path, programs: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    stand_in(programs, "dpkg-query", "printf 'installed podman\\nconfig-files skopeo\\n'")
    stand_in(programs, "apt-get", f'echo "$*" >> {log}')
    stand_in(programs, "id", "echo 0")
    with_environment(checkout)
    assert bootstrap(checkout, programs).returncode == 0
    assert log.read_text().splitlines() == ["update", "install -y --no-install-recommends skopeo"]


def test_without_root_it_says_what_to_type(checkout: Path, programs: Path) -> None:
    stand_in(programs, "dpkg-query", "printf 'installed podman\\n'; exit 1")
    stand_in(programs, "id", "echo 1000")
    done = bootstrap(checkout, programs)
    assert done.returncode == 1
    assert "needs root. Type: sudo apt-get install skopeo" in done.stderr


def test_failing_apt_shows_its_last_words(checkout: Path, programs: Path) -> None:
    stand_in(programs, "dpkg-query", "exit 1")
    stand_in(programs, "apt-get", "echo Temporary failure resolving the archive; exit 100")
    stand_in(programs, "id", "echo 0")
    done = bootstrap(checkout, programs)
    assert done.returncode == 1
    assert "Temporary failure resolving the archive" in done.stderr
    assert "type: apt-get install podman skopeo" in done.stderr


def test_old_python_is_refused(checkout: Path, programs: Path) -> None:
    stand_in(programs, "dpkg-query", "printf 'installed podman\\ninstalled skopeo\\n'")
    stand_in(programs, "old", "[[ $1 == --version ]] && echo Python 3.9.2; exit 1")
    done = bootstrap(checkout, programs, PYTHON=str(programs / "old"))
    assert done.returncode == 1
    assert "Python 3.9.2 is too old: Jarvis needs Python 3.11 or newer" in done.stderr
    assert not (checkout / ".venv").exists()


def test_failed_environment_is_made_again_the_next_time(checkout: Path, programs: Path) -> None:
    stand_in(programs, "dpkg-query", "printf 'installed podman\\ninstalled skopeo\\n'")
    stand_in(programs, "new", "[[ $1 == -c ]] && exit 0; echo no venv today; exit 1")
    for _ in range(2):
        done = bootstrap(checkout, programs, PYTHON=str(programs / "new"))
        assert done.returncode == 1
        assert "no venv today" in done.stderr
        assert not (checkout / ".venv" / ".bootstrap").exists()
