"""apply.sh when roles go: what they left to be undone, in which order, and that nothing of them stays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.fakes import FILES, Commands, owner_of


class Roles:
    """Roles on this machine's files, below a folder; systemd is a fake."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.commands = Commands(folder / "bin")
        self.commands.say("systemctl", "")
        self.commands.say("journalctl", "")
        self.commands.stage_here()
        self.done = folder / "done"

    def run(self, *words: str, bundle: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.commands.folder}:{os.environ['PATH']}", "JARVIS_BASE": str(self.base)}
        script = 'exec bash "$@" 3<<<"$BUNDLE"'
        return subprocess.run(
            ["bash", "-c", script, "-", str(FILES / "apply.sh"), *words],
            env=environment | {"BUNDLE": bundle},
            input="",
            capture_output=True,
            text=True,
            check=False,
        )

    def apply(self, role: str, extra: str = "") -> Path:
        """A role with one file, one unit, data, and a command that undoes something."""
        file, data = self.folder / f"etc-{role}" / "conf", self.folder / f"data-{role}"
        data.mkdir(exist_ok=True)
        bundle = (
            f"unit {role}.service\nundo echo {role} >>{self.done}\npurge {data}\n{extra}"
            f"file 0644 {owner_of(data)} {file}\n|text\n"
        )
        run = self.run(role, bundle=bundle)
        assert run.returncode == 0, run.stderr
        assert file.read_text() == "text\n"
        return file

    def undone(self) -> list[str]:
        return self.done.read_text().split() if self.done.exists() else []


@pytest.fixture
def roles(tmp_path: Path) -> Roles:
    return Roles(tmp_path)


def test_a_role_is_undone_before_its_units_stop(roles: Roles) -> None:
    roles.commands.add("systemctl", f'[ "$1" != disable ] || echo stopped >>{roles.done}')
    file = roles.apply("etcd")
    assert roles.run("--remove", "etcd").returncode == 0
    assert roles.undone() == ["etcd", "stopped"]
    assert not file.parent.exists()
    assert not (roles.folder / "data-etcd").exists()
    assert not (roles.base / "roles/etcd").exists()


def test_a_command_that_reads_keeps_no_other_from_being_undone(roles: Roles) -> None:
    """rabbitmqctl reads its standard input, whatever it is told to do."""
    roles.apply("queue-account", extra=f"undo cat >/dev/null\nundo echo second >>{roles.done}\n")
    assert roles.run("--remove", "queue-account").returncode == 0
    assert roles.undone() == ["queue-account", "second"]


def test_what_cannot_be_undone_keeps_nothing_from_going(roles: Roles) -> None:
    file = roles.apply("etcd", extra="undo exit 7\n")
    run = roles.run("--remove", "etcd")
    assert run.returncode == 0
    assert "removed all the same: exit 7" in run.stderr
    assert not file.exists()


def test_all_roles_go_the_last_first(roles: Roles) -> None:
    files = [roles.apply(role) for role in ("base", "release", "etcd")]
    roles.apply("release")  # a change does not make it younger
    assert roles.run("--remove-all").returncode == 0
    assert roles.undone() == ["etcd", "release", "base"]
    assert not any(file.exists() for file in files)
    assert not roles.base.exists()


def test_removing_twice_or_what_was_never_there_is_fine(roles: Roles) -> None:
    roles.apply("etcd")
    assert [roles.run("--remove-all").returncode for _ in range(2)] == [0, 0]
    assert roles.run("--remove", "nothing").returncode == 0
    assert roles.undone() == ["etcd"]
