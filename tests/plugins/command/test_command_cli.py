"""The whole way: the real pulumi CLI, the plugin as its process, a real sshd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi_cli import CLI_SECONDS, Stack
from ssh_server import Server, make_key, until

# The values each test may change; the program is the same.
DEFAULTS = {
    "content": "content 1\n",
    "one": "echo one",
    "trigger": "a",
    "text": "hello",
    "greeting": "hi",
    "fail": False,
    "limit": 2,
}
SECRET = "hunter2-is-the-secret"
PROGRAM = """
import pulumi_command as command
C, L = command.remote.Command, command.local.Command
conn = command.remote.ConnectionArgs(**{**connection, "private_key": pulumi.Output.secret(connection["private_key"]),
    "dial_error_limit": limit})
C("file", connection=conn, create=f"cat > {folder}/file", update=f"cat > {folder}/file", delete=f"rm {folder}/file",
    stdin=content, add_previous_output_in_env=False)
C("create-changes", connection=conn, create=one)
C("trigger", connection=conn, create=f"echo t >> {folder}/trigger", delete=f"echo d >> {folder}/trigger",
    triggers=[trigger, 1])
C("secret", connection=conn, create=f"cat > {folder}/secret; cat {folder}/secret", stdin=pulumi.Output.secret(secret),
    logging=command.remote.Logging.NONE, opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout", "stderr"]))
command.remote.CopyToRemote("copy-text", connection=conn, source=pulumi.StringAsset(text), remote_path=f"{folder}/copied")
command.remote.CopyToRemote("copy-tree", connection=conn, remote_path=f"{folder}/tree",
    source=pulumi.AssetArchive({"d/a.txt": pulumi.StringAsset("a")}))
here = L("local", create="cat; echo $GREETING; touch made.txt", update="echo $GREETING $PULUMI_COMMAND_STDOUT", stdin="in",
    environment={"GREETING": greeting}, interpreter=["/bin/bash", "-c"], dir=folder, asset_paths=["*.txt"])
C("after", connection=conn, create=here.stdout.apply(lambda text: f"echo {text!r}"))
pulumi.export("run", command.local.run_output(command="echo from-run").stdout)
if fail:
    C("fails", connection=conn, create="echo out; echo err >&2; exit 3", stdin=pulumi.Output.secret(secret))
"""  # noqa: E501 (the program is data)


class Program:
    """The program above on a stack and a server, with values to change."""

    def __init__(self, stack: Stack, server: Server, tmp_path: Path) -> None:
        self.stack = stack
        self.folder = tmp_path / "remote"
        self.folder.mkdir()
        self.fixed = {"connection": server.inputs(), "folder": str(self.folder), "secret": SECRET}
        self.set()

    def set(self, **values: object) -> None:
        self.stack.write(PROGRAM, {**self.fixed, **DEFAULTS, **values})

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def program(stack: Stack, server: Server, tmp_path: Path) -> Program:
    return Program(stack, server, tmp_path)


def changed(steps: dict[str, str]) -> dict[str, str]:
    return {name: op for name, op in steps.items() if op not in ("same", "read")}


def test_a_stacks_life(program: Program, server: Server) -> None:
    stack = program.stack
    preview = stack.preview()
    assert set(changed(preview.steps()).values()) == {"create"}
    assert not (program.folder / "file").exists()

    created = stack.up()
    assert set(created.steps().values()) == {"create"}
    assert len(created.steps()) == 8
    assert program.read("file") == "content 1\n"
    assert program.read("copied") == "hello"
    assert program.read("tree/d/a.txt") == "a"
    # Eight commands at most in parallel, and one connection for them all.
    assert server.logins() == 1
    resources = stack.resources(secrets=True)
    assert resources["local"]["outputs"]["stdout"] == "inhi"
    assert list(resources["local"]["outputs"]["assets"]) == ["made.txt"]
    assert resources["after"]["outputs"]["stdout"] == "inhi"

    # Nothing changed: nothing is done, and no server is asked.
    stack.preview("--expect-no-changes")
    assert changed(stack.up("--expect-no-changes").steps()) == {}
    assert server.logins() == 1

    program.set(content="content 2\n", one="echo two", text="hello again", greeting="ho")
    updated = stack.up()
    assert changed(updated.steps()) == {
        "file": "update",
        "create-changes": "update",
        "copy-text": "update",
        "local": "update",
        "after": "update",
    }
    assert program.read("file") == "content 2\n"
    assert program.read("copied") == "hello again"
    resources = stack.resources()
    assert resources["local"]["outputs"]["stdout"] == "ho inhi"
    assert resources["create-changes"]["outputs"]["stdout"] == "two"
    # The server accepts no such variable, and the operator is told.
    assert any("Unable to set 'PULUMI_COMMAND_STDOUT'" in line for line in updated.progress())

    values = {"content": "content 2\n", "one": "echo two", "text": "hello again", "greeting": "ho"}
    program.set(**values, trigger="b")
    assert changed(stack.up().steps()) == {"trigger": "replace"}
    # The new one is made before the old one goes, as with the official plugin.
    assert program.read("trigger").split() == ["t", "t", "d"]

    # What is edited behind our back is not seen: commands have no Read.
    (program.folder / "file").write_text("edited")
    stack.refresh("--expect-no-changes")
    assert changed(stack.up().steps()) == {}
    stack.preview("--expect-no-changes")

    # Another connection updates every command but copies no file again.
    (program.folder / "copied").write_text("edited")
    program.set(**values, trigger="b", limit=3)
    steps = changed(stack.up().steps())
    assert set(steps) == {"file", "create-changes", "trigger", "secret", "copy-text", "copy-tree", "after"}
    assert set(steps.values()) == {"update"}
    assert program.read("file") == "content 2\n"
    assert program.read("copied") == "edited"

    assert set(stack.destroy().steps().values()) == {"delete"}
    assert stack.resources() == {}
    assert not (program.folder / "file").exists()
    assert program.read("trigger").split()[-1] == "d"


def test_no_secret_in_what_the_cli_writes(program: Program, server: Server) -> None:
    stack = program.stack
    output = stack.preview("--diff").output + stack.up().output
    program.set(fail=True)
    output += stack.up(succeed=False).output
    program.set()
    output += stack.preview("--diff", "--json").output + stack.up().output
    assert stack.resources(secrets=True)["secret"]["outputs"]["stdout"]["plaintext"] == json.dumps(SECRET)
    written = output + stack.files() + stack.run("stack", "export").output
    for secret in (SECRET, server.private_key.splitlines()[1], server.private_key.splitlines()[2]):
        assert secret not in written


def test_a_failure_is_told_and_repaired_by_the_next_up(program: Program) -> None:
    stack = program.stack
    program.set(fail=True)
    failed = stack.up(succeed=False)
    assert 'Process exited with status 3: running "echo out; echo err >&2; exit 3":' in failed.output
    assert "fails" not in stack.resources()
    program.set()
    assert set(changed(stack.up().steps()).values()) <= {"create"}
    stack.preview("--expect-no-changes")


def test_unknown_connection_and_input_in_a_preview(stack: Stack, server: Server) -> None:
    stack.write(
        """
import pulumi_command as command
first = command.local.Command("first", create="printf %s " + connection["host"])
conn = command.remote.ConnectionArgs(**{**connection, "host": first.stdout})
command.remote.Command("second", connection=conn, create=first.stdout, stdin=first.stdout, triggers=[first.stdout])
command.remote.CopyToRemote("third", connection=conn, remote_path=first.stdout,
    source=first.stdout.apply(lambda text: pulumi.StringAsset(text)))
""",  # noqa: E501
        {"connection": server.inputs()},
    )
    assert changed(stack.preview().steps()) == {"first": "create", "second": "create", "third": "create"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"private_key": None, "agent_socket_path": "/nonexistent"}, "Permission denied"),
        ({"host_key": "other"}, "host key is not the one in connection.hostKey"),
        ({"port": 1}, "Connection refused"),
    ],
    ids=["credentials", "host key", "unreachable"],
)
def test_one_clear_error(
    stack: Stack, server: Server, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    if change.get("host_key"):
        make_key(tmp_path / "other")
        change = {"host_key": (tmp_path / "other.pub").read_text()}
    connection = {key: value for key, value in {**server.inputs(), **change}.items() if value is not None}
    stack.write(
        """
import pulumi_command as command
command.remote.Command("one", connection=command.remote.ConnectionArgs(**connection), create="true")
""",
        {"connection": connection},
    )
    failed = stack.up(succeed=False)
    assert message in failed.output
    assert server.private_key.splitlines()[2] not in failed.output


def test_a_message_hides_the_key_of_a_connection_and_not_its_user(
    stack: Stack, make_server: Callable[..., Server]
) -> None:
    server, bastion = make_server(), make_server()
    line = server.private_key.splitlines()[2]
    stack.write(
        """
import pulumi_command as command
conn = command.remote.ConnectionArgs(**{**connection, "private_key": pulumi.Output.secret(connection["private_key"]),
    "proxy": command.remote.ProxyConnectionArgs(**bastion)})
command.remote.Command("one", connection=conn, stdin="\\n".join([line, other]),
    create=f"echo user: {user} at {conn.host} is not fit; cat; exit 1")
""",  # noqa: E501 (the program is data)
        {
            "connection": server.inputs(),
            "bastion": bastion.inputs(),
            "user": server.user,
            "line": line,
            "other": bastion.private_key.splitlines()[2],
        },
    )
    failed = stack.up(succeed=False)
    assert f"user: {server.user} at 127.0.0.1 is not fit" in failed.output
    assert "[secret]" in failed.output
    for hidden in (server.private_key, bastion.private_key):
        assert hidden.splitlines()[2] not in failed.output + "".join(failed.progress())


def test_an_unknown_field_is_named_without_its_value(stack: Stack) -> None:
    stack.write(
        """
import pulumi_command as command
command.remote.Command("one", connection={"host": "127.0.0.1", "privatKey": "the-private-key"}, create="true")
"""
    )
    failed = stack.up(succeed=False)
    assert "connection.privatKey: unknown field" in failed.output
    assert "the-private-key" not in failed.output


class TestInterruption:
    """A command waits on a pipe of ours; the CLI is stopped there; the next `up` finishes."""

    PROGRAM = """
import pulumi_command as command
conn = command.remote.ConnectionArgs(**connection)
before = command.remote.Command("before", connection=conn, create="echo before", delete=f"echo gone > {folder}/gone")
slow = getattr(command, where).Command("slow", create=f"echo $$ > {folder}/started; {wait}; echo done > {folder}/done",
    **({"connection": conn} if where == "remote" else {}), opts=pulumi.ResourceOptions(depends_on=before))
command.remote.Command("next", connection=conn, create="echo next", opts=pulumi.ResourceOptions(depends_on=slow))
"""  # noqa: E501

    @pytest.mark.parametrize("where", ["remote", "local"])
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
    def test_the_next_up_finishes(
        self, stack: Stack, server: Server, tmp_path: Path, where: str, number: signal.Signals
    ) -> None:
        folder = tmp_path / "remote"
        folder.mkdir()
        variables = {"connection": server.inputs(), "folder": str(folder), "where": where}
        stack.write(self.PROGRAM, {**variables, "wait": "sleep 3600"})
        os.mkfifo(folder / "started")
        process = stack.start("up", "--yes", "--skip-preview", "--stack", stack.name)
        command = int((folder / "started").read_text())  # Blocks until the command has begun.
        plugins = children(process.pid, "toolchain.plugins.command")
        assert plugins
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # As a terminal does: to the whole group.
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=CLI_SECONDS)
        assert process.returncode != 0, output
        # Neither the plugin nor what it ran here outlives the CLI for long.
        for plugin in plugins:
            until(lambda plugin=plugin: not Path(f"/proc/{plugin}").exists())
        if where == "local":
            until(lambda: not Path(f"/proc/{command}").exists())
        else:
            subprocess.run(["kill", str(command)], check=True)
        (folder / "started").unlink()
        if number is signal.SIGKILL:
            # The dead CLI's lock stays in the backend; the CLI tells the operator of this command.
            stack.run("cancel", "--yes")

        stack.write(self.PROGRAM, {**variables, "wait": "true"})
        finished = stack.up()
        assert finished.steps() == {"before": "same", "slow": "create", "next": "create"}
        assert (folder / "done").read_text() == "done\n"
        stack.preview("--expect-no-changes")
        assert set(stack.destroy().steps().values()) == {"delete"}
        assert (folder / "gone").exists()


def children(pid: int, word: str) -> list[int]:
    """Descendants of a process with a word in their command lines."""
    out = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()]
    family = {pid}
    for _ in rows:
        family |= {int(row[0]) for row in rows if int(row[1]) in family}
    return [int(row[0]) for row in rows if int(row[0]) in family and word in row[2]]


def test_a_dial_that_waits_is_interrupted(stack: Stack, make_server: Callable[..., Server]) -> None:
    server = make_server()
    server.stop()
    stack.write(
        """
import pulumi_command as command
conn = command.remote.ConnectionArgs(**connection)
command.remote.Command("one", connection=conn, create="true")
""",
        {"connection": server.inputs(dial_error_limit=-1)},
    )
    process = stack.start("up", "--yes", "--skip-preview", "--stack", stack.name)
    assert process.stdout is not None
    seen = ""
    while "Dial 2/inf failed" not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=CLI_SECONDS)
    assert process.returncode != 0
    assert "cancelled" in output
