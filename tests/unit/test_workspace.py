"""The folder of a stack, as its tools find it."""

from __future__ import annotations

from pathlib import Path

from toolchain.workspace.model import Workspace


def workspace(folder: Path) -> Workspace:
    return Workspace(stack="trial", state=folder / ".jarvis", root=folder)


def test_a_new_workspace_is_its_owners_alone_and_keeps_no_debug_logs(tmp_path: Path) -> None:
    own = workspace(tmp_path)
    own.prepare()
    assert own.folder.stat().st_mode & 0o777 == 0o700
    assert (own.folder / "passphrase").stat().st_mode & 0o777 == 0o600
    # The CLI makes a folder of this name and writes there, unless it cannot.
    assert (own.state / "pulumi" / "logs").is_file()


def test_logs_that_are_there_are_left_alone(tmp_path: Path) -> None:
    own = workspace(tmp_path)
    logs = own.state / "pulumi" / "logs"
    logs.mkdir(parents=True)
    (logs / "one.log").touch()
    own.prepare()
    own.prepare()
    assert [path.name for path in logs.iterdir()] == ["one.log"]
