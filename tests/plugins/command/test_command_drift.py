"""What somebody changes on a server shows in a preview, and an up mends it: the real pulumi CLI, the plugin,
a real sshd; systemd is a fake."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_cli import ROOT, Stack
from ssh_server import Server

# As __main__.py, stacks/start.py and jarvis.hosts.Host put it together, of one server and one role.
PROGRAM = """
import sys
from dataclasses import replace
from ipaddress import IPv4Address
sys.path.insert(0, root)
from jarvis.config import parse_environment
from jarvis.config.before import read_before, to_record
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.core.sdk import settled
from jarvis.drift import Drift, read_kept, read_watch, to_record as seen_record
from jarvis.hosts.preflight import target
from jarvis.remote import Directory, File, HostService, HostServiceArgs, ServerTools
from jarvis.remote.script import read_file

async def program():
    deployed = await last_deployed()
    env = parse_environment(values, "test")
    # Where no environment may have a server.
    servers = [one.model_copy(update={"address": IPv4Address("127.0.0.1")}) for one in env.servers]
    env = env.model_copy(update={"servers": servers}).after(read_before(deployed))
    drift = Drift(env, read_watch(pulumi.Config("jarvis").get("observe")), read_kept(deployed))
    try:
        known = await drift.known()
    finally:
        await drift.end()
    seen = {role: one.lines for role, one in known.get("s1", {}).items()}
    where = replace(target(env, env.servers[0]), seen=seen)
    tools = ServerTools("tools", where)
    for name in ("web", "other"):
        HostService(name, name, HostServiceArgs(target=where,
            files=[Directory(path=f"{base}/etc"), File(path=f"{base}/etc/{name}.conf", content="text")],
            secret_files=[
                File(path=f"{base}/etc/{name}.key", content=pulumi.Output.secret(secret), mode="0600")],
            units=["web.service"] if name == "web" else []),
            pulumi.ResourceOptions(depends_on=[tools]))
    record = {**to_record(env), **seen_record(known)}
    return {OUTPUT: pulumi.Output.secret(record)} if await settled() else {}

pulumi.run(program)
"""
SYSTEMCTL = """#!/bin/bash
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case $1 in
  is-active) [ -e "$here/active" ] ;;
  start | restart) touch "$here/active" ;;
  show)
    [ -e "$here/active" ] && echo ActiveState=active || echo ActiveState=inactive
    echo UnitFileState=enabled
    ;;
esac
"""
ROLES = ["etcd", "control-plane", "worker", "registry", "gateway", "database", "queue", "storage"]
SECRET = "hunter2-is-the-secret"
AT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"


class Deployment:
    """The program above on a stack and a server, whose /var/lib and /etc are below ``base``."""

    def __init__(self, stack: Stack, server: Server, folder: Path) -> None:
        self.stack, self.base, self.tools = stack, folder / "var", folder / "tools"
        code = stack.folder / "jarvis"
        shutil.copytree(ROOT / "jarvis", code, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("remote/tools.py", "remote/service.py", "files/apply.sh", "drift/observe.sh"):
            text = (code / file).read_text()
            assert "/var/lib/jarvis" in text
            (code / file).write_text(text.replace("/var/lib/jarvis", f"{self.base}/jarvis"))
        known: Mapping[str, Any] = {
            "root": str(stack.folder),
            "base": str(self.base),
            "secret": SECRET,
            "values": {
                "name": "test",
                "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
                "ssh": {
                    "user": server.user,
                    "port": server.port,
                    "private_key_file": str(server.folder / "id"),
                    "wait_seconds": 10,
                },
                "servers": [
                    {"name": "s1", "address": "192.0.2.11", "host_key": server.host_key, "roles": ROLES}
                ],
            },
        }
        stack.write(PROGRAM, known)

    def starts(self) -> int:
        """How often a unit has been started."""
        calls = (self.tools / "calls").read_text().splitlines()
        return sum(call.startswith(("start ", "restart ")) for call in calls)

    def updates(self, run: Any) -> set[str]:
        """What a run changes, all of it in place."""
        steps = {name: op for name, op in run.steps().items() if op != "same"}
        assert set(steps.values()) <= {"update"}
        return set(steps)


@pytest.fixture
def deployment(stack: Stack, make_server: Callable[..., Server], tmp_path: Path) -> Deployment:
    if os.getuid() != 0:
        pytest.skip("files are given to owners by root alone")
    for name in ("var", "tools"):
        (tmp_path / name).mkdir()
    (tmp_path / "tools" / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "tools" / "enter").write_text(
        f'#!/bin/sh\nPATH={tmp_path}/tools:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    for file in (tmp_path / "tools").iterdir():
        file.chmod(0o755)
    return Deployment(stack, make_server(f"ForceCommand {tmp_path}/tools/enter"), tmp_path)


def test_drift_is_shown_once_and_mended(deployment: Deployment) -> None:
    stack, etc = deployment.stack, deployment.base / "etc"
    stack.up()
    assert deployment.starts() == 1
    stack.preview("--expect-no-changes")

    (etc / "web.conf").write_text("edited\n")
    (etc / "web.key").write_text("edited\n")
    (etc / "other.key").chmod(0o644)
    (deployment.base / "jarvis/bin/apply").chmod(0o700)
    preview = stack.preview("--diff")
    assert deployment.updates(preview) == {"web", "other", "tools"}
    for finding in (
        rf"seen 1: {etc}/web\.conf: edited {AT}",
        rf"seen 1: {etc}/web\.key: edited {AT}",
        rf"seen 1: {etc}/other\.key: mode 0644 and not 0600",
        r"# seen 1: .*/jarvis/bin/apply: mode 0700 and not 0755",
        rf"warning: s1: web: {etc}/web\.conf: edited {AT}",
    ):
        assert re.search(finding, preview.output), finding
    assert deployment.updates(stack.up()) == {"web", "other", "tools"}
    assert (etc / "web.conf").read_text() == "text\n"
    assert (etc / "web.key").read_text() == f"{SECRET}\n"
    assert (etc / "other.key").stat().st_mode & 0o777 == 0o600
    assert deployment.starts() == 1
    stack.preview("--expect-no-changes")
    assert SECRET not in stack.files()

    # Another thing of the same role.
    (deployment.tools / "active").unlink()
    preview = stack.preview("--diff")
    assert deployment.updates(preview) == {"web"}
    assert "seen 2: web.service: stopped" in preview.output
    assert deployment.updates(stack.up()) == {"web"}
    assert deployment.starts() == 2
    stack.preview("--expect-no-changes")


def test_an_up_that_fails_is_followed_by_one_that_mends(deployment: Deployment) -> None:
    stack, etc = deployment.stack, deployment.base / "etc"
    stack.up()
    (etc / "web.conf").write_text("edited\n")
    (deployment.tools / "active").unlink()
    systemctl = deployment.tools / "systemctl"
    systemctl.write_text(SYSTEMCTL.replace('start | restart) touch "$here/active"', "start) exit 1"))
    stack.up(succeed=False)
    systemctl.write_text(SYSTEMCTL)
    preview = stack.preview("--diff")
    assert deployment.updates(preview) == {"web"}
    assert "applied in part: the last run did not come to its end" in preview.output
    stack.up()
    assert (deployment.tools / "active").exists()
    stack.preview("--expect-no-changes")


def test_a_silent_server_ends_a_preview_but_not_a_lenient_one(
    deployment: Deployment, make_server: Callable[..., Server]
) -> None:
    stack = deployment.stack
    stack.up()
    enter = deployment.tools / "enter"
    enter.write_text("#!/bin/sh\necho 'out of order' >&2\nexit 7\n")
    refused = stack.preview(succeed=False)
    assert "  s1: out of order\n" in refused.output
    assert "Traceback" not in refused.output
    stack.run("config", "set", "jarvis:observe", "lenient")
    lenient = stack.preview("--expect-no-changes")
    assert "warning: s1: what is on it was not looked at: out of order" in lenient.output
    stack.run("config", "set", "jarvis:observe", "false")
    assert "looked at" not in stack.preview("--expect-no-changes").output
