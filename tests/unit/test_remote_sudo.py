"""A command of root's by sudo: its text and its input arrive whole, and sudo is told neither."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jarvis.config import Environment
from jarvis.remote import HostServiceArgs, Target
from jarvis.remote.service import command_text
from jarvis.remote.sudo import as_root
from tests.golden.test_golden import environment_of
from tests.unit.fakes import Commands
from tests.unit.harness import Graph
from tests.unit.test_lost import graph_of

# As sudo does it: no question, no further descriptors, nothing of the environment.
SUDO = """#!/bin/bash
[ "$1" = -n ] || exit 9
shift
printf '%s\\n' "$@" >>"$(dirname "$0")/arguments"
for descriptor in 3 4 5 6 7 8 9; do eval "exec $descriptor>&-"; done
exec env -i PATH="$PATH" SUDO_UID=1000 SUDO_GID=1000 "$@"
"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    made = Commands(tmp_path / "commands")
    made.add("true")
    (made.folder / "sudo").write_text(SUDO)
    (made.folder / "sudo").chmod(0o755)
    return made


def run(
    commands: Commands, line: str, stdin: str = "", shell: str = "sh"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shell, "-c", line],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": f"{commands.folder}:/usr/sbin:/usr/bin:/sbin:/bin",
            "SSH_CONNECTION": "192.0.2.7 1 192.0.2.1 22",
            "FOREIGN": "of the user",
        },
    )


def arguments(commands: Commands) -> str:
    return (commands.folder / "arguments").read_text()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_command_has_its_input_and_knows_where_the_operator_is(commands: Commands, shell: str) -> None:
    line = as_root('echo "${SSH_CONNECTION%% *} ${FOREIGN:-none} $# $SUDO_UID it\'s $HOME"; cat; exit 3')
    done = run(commands, line, "\n a secret\nof two lines", shell)
    assert done.stdout == "192.0.2.7 none 0 1000 it's \n\n a secret\nof two lines"
    assert (done.returncode, done.stderr) == (3, "")
    assert "secret" not in arguments(commands)
    assert "SUDO_UID" not in arguments(commands)


def test_without_input_nothing_is_read(commands: Commands) -> None:
    assert run(commands, as_root("wc -c")).stdout.strip() == "0"


def test_a_script_of_standard_input_runs_with_its_arguments(commands: Commands) -> None:
    done = run(commands, as_root("bash -s -- one 'two words'"), 'printf "%s|" "$@"\n')
    assert done.stdout == "one|two words|"


def test_a_bundle_arrives_beside_the_secrets(commands: Commands) -> None:
    """As a role is applied: the clear part on descriptor 3, the secret one on standard input."""
    bundle = "".join(f"|Zeile {n} mit ä, 'x' und $HOME\n" for n in range(2000))
    line = as_root(f"exec bash -c 'cat <&3; cat' 3<<'END'\n{bundle}END\n")
    secret = "s" * 300_000
    assert run(commands, line, secret).stdout == bundle + secret
    assert len(arguments(commands)) < 500


def test_half_a_command_is_not_run(commands: Commands) -> None:
    line = as_root("echo begun\necho all")
    assert run(commands, line).stdout == "begun\nall\n"
    assert line.startswith("{ cat <<")
    # As if what feeds it were killed; then the input follows.
    done = run(commands, line.replace("{ cat <<", "{ head -c 15 <<"), "echo from the input\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "only a part of the command has arrived" in done.stderr


def test_the_line_that_ends_a_command_is_refused_within_it() -> None:
    with pytest.raises(ValueError, match="JARVIS-COMMAND-END"):
        as_root("cat <<x\nJARVIS-COMMAND-END\nx")


def test_root_needs_no_sudo() -> None:
    args = {"server": "one", "host": "192.0.2.1", "host_key": "ssh-ed25519 AAAA"}
    root, user = Target(**args), Target(**args, user="admin", sudo=True)  # type: ignore[arg-type]
    assert root.as_root("echo 1") == "echo 1"
    assert "sudo -n" in user.as_root("echo 1")
    text = command_text("role", "one", HostServiceArgs(target=root), "")
    assert text.startswith("exec /var/lib/jarvis/bin/apply role 3<<")
    assert text in command_text("role", "one", HostServiceArgs(target=user), "")
    bundle = "|x\n" * 43_600
    command_text("role", "one", HostServiceArgs(target=root), bundle)
    with pytest.raises(ValueError, match="a command carries"):
        command_text("role", "one", HostServiceArgs(target=user), bundle)


REMOTE = "command:remote:Command"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The stack dev, by a user who becomes root by sudo."""
    found = environment_of("dev", tmp_path_factory.mktemp("project"))
    return found.model_copy(update={"ssh": found.ssh.model_copy(update={"user": "admin", "sudo": True})})


@pytest.fixture(scope="module")
def by_sudo(env: Environment) -> Graph:
    return graph_of(env)


def test_every_command_of_a_stack_is_roots(by_sudo: Graph) -> None:
    remote = [one for one in by_sudo.resources.values() if one.kind == REMOTE]
    assert len(remote) > 30
    for one in remote:
        for field in ("create", "update", "delete"):
            text = one.inputs.get(field)
            assert text is None or text.count("} | sudo -n env ") == 1, f"{one.name}: {field}"
        assert one.inputs["connection"]["user"] == "admin"


def test_what_is_copied_goes_where_the_user_may_write(by_sudo: Graph) -> None:
    copies = [one for one in by_sudo.resources.values() if one.kind == "command:remote:CopyToRemote"]
    assert len(copies) == 6
    for one in copies:
        assert (one.inputs["remotePath"] + "/").startswith("/var/lib/jarvis-scripts/")
        server = one.name.removesuffix("-release-image").removesuffix("-apply")
        assert f"{REMOTE} {server}-apply-folder" in by_sudo.before(one.label)
    release = by_sudo.resources[f"{REMOTE} jarvis-1-release"].inputs["create"]
    assert release.index("chown root:root /var/lib/jarvis-scripts/release.raw") < release.index(" activate ")


def test_sudo_adds_one_resource_a_server_and_takes_none(env: Environment, by_sudo: Graph) -> None:
    root = graph_of(env.model_copy(update={"ssh": env.ssh.model_copy(update={"sudo": False})}))
    added = by_sudo.resources.keys() - root.resources.keys()
    assert root.resources.keys() <= by_sudo.resources.keys()
    assert added == {f"{REMOTE} {server.name}-apply-folder" for server in env.servers}
    for label in added:
        server = label.removeprefix(f"{REMOTE} ").removesuffix("-apply-folder")
        # So that nothing is asked of a server that is lost.
        assert by_sudo.resources[label].deleted_with == f"jarvis:hosts:Host {server}"


def test_one_server_may_differ(env: Environment) -> None:
    first, *others = env.servers
    servers = [first.model_copy(update={"user": "root", "sudo": False}), *others]
    graph = graph_of(env.model_copy(update={"servers": servers}))
    texts = {
        one.name: (one.inputs["connection"]["user"], "sudo -n" in one.inputs["create"])
        for one in graph.resources.values()
        if one.kind == REMOTE
    }
    assert texts[f"{first.name}-base"] == ("root", False)
    assert texts[f"{others[0].name}-base"] == ("admin", True)
