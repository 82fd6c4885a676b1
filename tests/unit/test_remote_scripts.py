"""Scripts reach a server once, and a role names the ones it takes by their digest."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime import resource

from jarvis.core.sdk import keep_stack_traces_out_of_state
from jarvis.core.text import read_beside
from jarvis.images import registry
from jarvis.remote import File
from jarvis.remote.files import render_entry, script_of
from jarvis.remote.script import read_file
from tests.unit.fakes import FILES, Commands, owner_of

PATH = "/var/lib/jarvis/bin/etcd"


def test_what_can_be_run_is_named_and_what_is_configuration_is_shown() -> None:
    text = read_file("etcd.sh")
    digest = hashlib.sha256(text.encode()).hexdigest()
    script = File(path=PATH, content=text, mode="0755")
    assert render_entry(script, "") == f"script 0755 root:root {digest} etcd.sh {PATH}\n"
    unit = File(path="/etc/one", content=read_beside(registry.__file__, "registry.service"))
    assert script_of(unit) is None
    assert "|[Unit]\n" in render_entry(unit, str(unit.content))
    edited = File(path=PATH, content=text.replace("etcd", "other"), mode="0755")
    assert script_of(edited) is None
    assert script_of(File(path=PATH, content=pulumi.Output.from_input("x"), mode="0755")) is None


class Server:
    """A folder with a server's scripts, and roles applied below it."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "jarvis"
        self.scripts = folder / "jarvis-scripts"
        self.target = folder / "bin" / "tool"
        self.commands = Commands(folder / "commands")
        self.commands.add("systemctl")
        self.commands.stage_here()
        (self.scripts / "a").mkdir(parents=True)
        (self.scripts / "a" / "tool.sh").write_text("echo one\n")

    def apply(self, content: str) -> subprocess.CompletedProcess[str]:
        """Applies a role that wants the script with ``content``."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        bundle = f"script 0755 {owner_of(self.scripts)} {digest} a/tool.sh {self.target}\n"
        return subprocess.run(
            ["bash", "-c", f'exec bash {FILES}/apply.sh role 3<<<"$0"', bundle],
            env={
                "PATH": f"{self.commands.folder}:{os.environ['PATH']}",
                "JARVIS_BASE": str(self.base),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_role_takes_its_script_from_the_server(server: Server) -> None:
    run = server.apply("echo one\n")
    assert run.returncode == 0, run.stderr
    assert server.target.read_text() == "echo one\n"
    assert server.target.stat().st_mode & 0o777 == 0o755


def test_a_script_that_is_another_changes_nothing(server: Server) -> None:
    assert server.apply("echo one\n").returncode == 0
    (server.scripts / "a" / "tool.sh").write_text("half a scr")
    run = server.apply("echo two\n")
    assert run.returncode == 1
    assert "the server's script a/tool.sh is another than this role wants; type: pulumi up" in run.stderr
    assert server.target.read_text() == "echo one\n"


def test_a_script_that_is_missing_is_named(server: Server) -> None:
    (server.scripts / "a" / "tool.sh").unlink()
    run = server.apply("echo one\n")
    assert run.returncode == 1
    assert "this server has no script a/tool.sh" in run.stderr
    assert not server.target.exists()


class Made:
    """Something made within something made, as a resource is: the SDK counts constructors."""

    def __init__(self, depth: int) -> None:
        self.frames: int = Made(depth - 1).frames if depth else len(resource._get_stack_trace().frames)


def test_no_stack_trace_reaches_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "_get_stack_trace", resource._get_stack_trace)
    assert Made(5).frames > 0
    keep_stack_traces_out_of_state()
    assert Made(5).frames == 0
