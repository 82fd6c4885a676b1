"""The ways to servers that a rack may have, as the configuration names them: a bastion, an agent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pulumi_cli import ROOT, Stack
from ssh_server import Server, until

from jarvis.config import Environment, parse_environment
from jarvis.hosts import clock

ROLES = ["etcd", "control-plane", "worker", "registry", "gateway", "database", "queue", "storage"]
PROGRAM = """
import sys
from ipaddress import IPv4Address
sys.path.insert(0, root)
from jarvis.config import parse_environment
from jarvis.hosts.preflight import target
from jarvis.remote import RemoteScript, RemoteScriptArgs, Transfer, TransferArgs
from jarvis.remote.script import read_file

env = parse_environment(values, "test")
env = env.model_copy(update={"servers": [one.model_copy(update={"address": IPv4Address("127.0.0.1")})
    for one in env.servers]})
where = target(env, env.servers[0])
RemoteScript("script", RemoteScriptArgs(target=where, script=read_file("reach-test.sh"),
    arguments=[said, "a b"], undo=f"echo undone >{folder}/undone"))
Transfer("file", TransferArgs(target=where, source=f"{folder}/source", sha256=digest,
    path=f"{folder}/copied"))
"""


def values(server: Server, **ssh: object) -> dict[str, Any]:
    """An environment of one server, which is ``server`` once the program has moved it to the loopback
    interface, where no environment may have one."""
    one = {"name": "s1", "address": "192.0.2.11", "host_key": server.host_key, "roles": ROLES}
    return {
        "name": "test",
        "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
        "ssh": {"user": server.user, "port": server.port, **ssh},
        "servers": [one],
    }


def through(bastion: Server, **fields: object) -> dict[str, object]:
    """The configuration's ``ssh.bastion``."""
    return {
        "host": "127.0.0.1",
        "port": bastion.port,
        "user": bastion.user,
        "host_key": bastion.host_key,
        **fields,
    }


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent, which holds the key of ``server``, in a folder with a blank in its name."""
    socket = tmp_path / "an agent" / "socket"
    socket.parent.mkdir()
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    until(socket.exists)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    subprocess.run(["ssh-add", "-q", "-"], input=server.private_key, text=True, check=True, env=environment)
    yield socket
    process.terminate()
    process.wait()


@pytest.fixture
def bastion(make_server: Callable[..., Server], server: Server) -> Server:
    """Another sshd, which lets in who may into ``server``."""
    made = make_server()
    shutil.copy(server.folder / "authorized_keys", made.folder / "authorized_keys")
    return made


class Deployed:
    """The program above for an environment, on a stack, with the files that it leaves."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        folder.mkdir()
        (folder / "source").write_text("content")
        script = stack.folder / "jarvis" / "files" / "reach-test.sh"
        shutil.copytree(
            ROOT / "jarvis", stack.folder / "jarvis", ignore=shutil.ignore_patterns("__pycache__")
        )
        script.write_text('echo "$(id -u) $1 $2 from ${SSH_CONNECTION%% *}"\n')

    def write(self, environment: dict[str, Any], said: str = "hello") -> None:
        digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # of "content"
        known = {"values": environment, "folder": str(self.folder), "digest": digest, "said": said}
        self.stack.write(PROGRAM, {**known, "root": str(self.stack.folder)})

    def up(self) -> str:
        """Deploys; what the script printed."""
        self.stack.up()
        assert (self.folder / "copied").read_text() == "content"
        found: str = self.stack.resources()["script"]["outputs"]["stdout"]
        return found


@pytest.fixture
def deployed(stack: Stack, tmp_path: Path) -> Deployed:
    return Deployed(stack, tmp_path / "left")


def test_by_the_agent_of_the_operators_shell(deployed: Deployed, server: Server, agent: Path) -> None:
    deployed.stack.environment["SSH_AUTH_SOCK"] = str(agent)
    deployed.write(values(server))
    assert deployed.up() == f"{os.getuid()} hello a b from 127.0.0.1"
    deployed.stack.preview("--expect-no-changes")
    deployed.stack.destroy()
    assert (deployed.folder / "undone").exists()
    # No key is in the state where none was needed.
    assert "PRIVATE KEY" not in deployed.stack.files()


def test_by_the_agent_through_a_bastion(
    deployed: Deployed, server: Server, bastion: Server, agent: Path
) -> None:
    deployed.stack.environment["SSH_AUTH_SOCK"] = str(agent)
    deployed.write(values(server, bastion=through(bastion)))
    deployed.up()
    assert (bastion.logins(), server.logins()) == (1, 1)
    bastion.stop()
    deployed.write(values(server, wait_seconds=10, bastion=through(bastion)), "again")
    failed = deployed.stack.up(succeed=False)
    assert f"@127.0.0.1:{bastion.port}: after" in failed.output
    assert "Connection refused" in failed.output


def test_a_bastion_with_another_host_key_is_refused_at_once(
    deployed: Deployed, server: Server, bastion: Server, agent: Path
) -> None:
    deployed.stack.environment["SSH_AUTH_SOCK"] = str(agent)
    deployed.write(values(server, bastion=through(bastion, host_key=server.host_key)))
    assert "the server's host key is not the one in" in deployed.stack.up(succeed=False).output
    assert server.logins() == 0


def test_a_stack_of_before_shows_no_change_by_other_limits(
    deployed: Deployed, server: Server, tmp_path: Path
) -> None:
    """As a former Jarvis deployed it, with the limits of then; and what it is told to wait, it waits."""
    key = server.folder / "id"
    connection = deployed.stack.folder / "jarvis" / "remote" / "connection.py"
    text = connection.read_text()
    end = "    return failures, seconds\n"
    assert end in text
    connection.write_text(text.replace(end, "    return 10, 15\n"))
    deployed.write(values(server, private_key_file=str(key)))
    deployed.up()
    connection.write_text(text)
    deployed.stack.preview("--expect-no-changes")
    deployed.stack.up("--expect-no-changes")
    deployed.write(values(server, private_key_file=str(key), wait_seconds=60))
    assert set(deployed.stack.preview().steps().values()) == {"update"}


@pytest.mark.parametrize("jump", [False, True], ids=["straight", "through a bastion"])
def test_the_clock_is_asked_for_the_same_way(
    server: Server, bastion: Server, tmp_path: Path, jump: bool
) -> None:
    folder = tmp_path / "a check%out"
    folder.mkdir()
    shutil.copy(server.folder / "id", folder / "id")
    ssh: dict[str, object] = {"private_key_file": "id", **({"bastion": through(bastion)} if jump else {})}
    env: Environment = parse_environment(values(server, **ssh), "test")
    (one,) = env.servers
    moved = one.model_copy(update={"address": IPv4Address("127.0.0.1")})
    env = env.model_copy(update={"servers": [moved]})
    found = asyncio.run(clock.ask(env, 5, folder))
    assert (dict(found.ahead), dict(found.silent)) == ({"s1": 0.0}, {})
    assert (bastion.logins(), server.logins()) == (int(jump), 1)


NOBODY = 65534
# Who is let in becomes nobody, whatever its name, and root again by this alone: as sudo does it, without a
# question, without further descriptors, and with nothing of the environment.
SUDO = """#!/bin/bash
[ "$1" = -n ] || exit 9
shift
printf '%s\\n' "$@" >>{folder}/arguments
exec {folder}/become --reuid=0 --regid=0 --clear-groups env -i PATH="$PATH" SUDO_UID=$UID SUDO_GID=$UID "$@"
"""
ROLE = """
import sys
from ipaddress import IPv4Address
sys.path.insert(0, root)
from jarvis.config import parse_environment
from jarvis.hosts.preflight import target
from jarvis.remote import (Directory, File, HostService, HostServiceArgs, RemoteScript, RemoteScriptArgs, ServerTools,
    Transfer, TransferArgs)
from jarvis.remote.script import read_file

env = parse_environment(values, "test")
env = env.model_copy(update={"servers": [one.model_copy(update={"address": IPv4Address("127.0.0.1")})
    for one in env.servers]})
where = target(env, env.servers[0])
script = RemoteScript("script", RemoteScriptArgs(target=where, script=read_file("reach-test.sh"), arguments=[said, "a b"]))
tools = ServerTools("tools", where, [script])
HostService("role", "role", HostServiceArgs(target=where,
    files=[Directory(path=f"{base}/etc", mode="0700"), File(path=f"{base}/etc/clear", content=said),
        File(path=f"{base}/etc/run", content=read_file("reach-test.sh"), mode="0755")],
    secret_files=[File(path=f"{base}/etc/hidden", content=pulumi.Output.secret(secret), mode="0600")],
    before=[f"echo $SSH_CONNECTION >{base}/etc/from", f"cp {base}/jarvis-scripts/image {base}/etc/image"],
    purge=[f"{base}/etc"]),
    pulumi.ResourceOptions(depends_on=[tools, Transfer("file", TransferArgs(target=where, source=f"{folder}/source",
        sha256=digest, path=f"{base}/jarvis-scripts/image"), pulumi.ResourceOptions(depends_on=tools))]))
"""  # noqa: E501 (the program is data)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may enter; those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory(prefix="jarvis-reach-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def for_nobody(make_server: Callable[..., Server], open_folder: Path) -> Server:
    """A server that lets in a user who can do nothing but become root by sudo."""
    if os.getuid() != 0:
        pytest.skip("a user who is not root cannot become another one")
    tools = open_folder / "tools"
    tools.mkdir()
    become = tools / "become"
    shutil.copy("/usr/bin/setpriv", become)
    become.chmod(0o4755)
    (tools / "sudo").write_text(SUDO.format(folder=tools))
    (tools / "sudo").chmod(0o755)
    # Removing a role has systemd look for units.
    (tools / "systemctl").write_text("#!/bin/sh\n")
    (tools / "systemctl").chmod(0o755)
    (tools / "arguments").touch()
    (tools / "arguments").chmod(0o666)
    # The words of a command are those of its user's shell.
    (tools / "enter").write_text(
        f"#!/bin/sh\nPATH={tools}:$PATH exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        ' sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    (tools / "enter").chmod(0o755)
    return make_server(f"ForceCommand {tools}/enter")


def test_a_user_who_is_not_root_deploys_all_by_sudo(
    deployed: Deployed, for_nobody: Server, open_folder: Path
) -> None:
    base = open_folder / "var"
    base.mkdir()
    code = deployed.stack.folder / "jarvis"
    for file in ("remote/tools.py", "remote/service.py", "files/apply.sh"):
        text = (code / file).read_text()
        assert "/var/lib/jarvis" in text
        (code / file).write_text(text.replace("/var/lib/jarvis", f"{base}/jarvis"))
    deployed.write(values(for_nobody, private_key_file=str(for_nobody.folder / "id")))
    failed = deployed.stack.up(succeed=False)
    assert "Permission denied" in failed.output

    secret = "a secret\nof the role\n"
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"  # of "content"
    variables: dict[str, object] = {
        "folder": str(deployed.folder),
        "digest": digest,
        "root": str(deployed.stack.folder),
        "base": str(base),
        "secret": secret,
        "said": "first",
        "values": values(for_nobody, private_key_file=str(for_nobody.folder / "id"), sudo=True),
    }
    deployed.stack.write(ROLE, variables)
    deployed.stack.up()
    assert deployed.stack.resources()["script"]["outputs"]["stdout"] == "0 first a b from 127.0.0.1"
    etc = base / "etc"
    assert (etc / "clear").read_text() == "first\n"
    assert (etc / "hidden").read_text() == secret
    assert (etc / "from").read_text().startswith("127.0.0.1 ")
    assert (etc / "image").read_text() == "content"
    modes = {path.name: (path.stat().st_mode & 0o777, path.stat().st_uid) for path in [etc, *etc.iterdir()]}
    assert (modes["etc"], modes["hidden"], modes["run"]) == ((0o700, 0), (0o600, 0), (0o755, 0))
    assert (base / "jarvis-scripts").stat().st_uid == NOBODY
    assert (base / "jarvis" / "bin" / "apply").stat().st_uid == 0
    told = (open_folder / "tools" / "arguments").read_text()
    assert "of the role" not in told
    assert "etc/clear" not in told

    deployed.stack.preview("--expect-no-changes")
    deployed.stack.write(ROLE, {**variables, "said": "second"})
    deployed.stack.up()
    assert (etc / "clear").read_text() == "second\n"
    deployed.stack.destroy()
    assert not etc.exists()
    assert list(base.iterdir()) == []


def test_the_folder_of_a_user_is_roots_again_without_sudo(
    deployed: Deployed, for_nobody: Server, server: Server, open_folder: Path
) -> None:
    base = open_folder / "var"
    base.mkdir()
    tools = deployed.stack.folder / "jarvis" / "remote" / "tools.py"
    tools.write_text(tools.read_text().replace("/var/lib/jarvis", f"{base}/jarvis"))
    service = deployed.stack.folder / "jarvis" / "remote" / "service.py"
    service.write_text(service.read_text().replace("/var/lib/jarvis", f"{base}/jarvis"))
    program = ROLE.partition('HostService("role"')[0]
    known: dict[str, object] = {"root": str(deployed.stack.folder), "said": "one"}

    def up(ssh: dict[str, object], one: Server) -> int:
        deployed.stack.write(program, {**known, "values": values(one, **ssh)})
        deployed.stack.up()
        return (base / "jarvis-scripts" / "apply.sh").stat().st_uid

    by_sudo: dict[str, object] = {"private_key_file": str(for_nobody.folder / "id"), "sudo": True}
    assert up({"private_key_file": str(server.folder / "id")}, server) == 0
    assert up(by_sudo, for_nobody) == NOBODY
    assert up({"private_key_file": str(server.folder / "id")}, server) == 0


def test_a_user_who_may_not_become_root_is_told_so(
    deployed: Deployed, for_nobody: Server, open_folder: Path
) -> None:
    sudo = open_folder / "tools" / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    deployed.write(values(for_nobody, private_key_file=str(for_nobody.folder / "id"), sudo=True))
    assert "sudo: a password is required" in deployed.stack.up(succeed=False).output
