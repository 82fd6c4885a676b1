"""How servers are reached: how long they are waited for, and what is known of keys before any is asked."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.access import check_credentials, credential_mistakes
from jarvis.config.load import with_host_keys
from jarvis.core.credentials import agent_problem, key_problem
from jarvis.hosts.preflight import target
from jarvis.remote import RemoteScript, RemoteScriptArgs
from jarvis.remote.connection import dial_limits
from tests.unit.harness import record
from tests.unit.test_hosts_clock import environment

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0"
# The delays of pulumi's retry.Until, with which both plugins dial.
DELAYS = [min(0.1 * 1.5 ** min(n, 20), 5.0) for n in range(2000)]


@pytest.mark.parametrize("patience", [1, 2, 10])
@pytest.mark.parametrize("wait", [10, 60, 61, 600, 3600])
def test_a_server_that_answers_nothing_is_given_up_in_time(wait: int, patience: int) -> None:
    failures, seconds = dial_limits(wait, patience)
    # The dial that fails for good is one more than those that are forgiven.
    spent = (failures + 1) * seconds + sum(DELAYS[:failures])
    assert spent <= wait
    assert spent + seconds + DELAYS[failures] > wait, "one more dial had the time"


def test_a_minute_is_many_dials() -> None:
    assert dial_limits(60) == (9, 5)


def script(env: Environment) -> Any:
    """A remote resource of the first server, as the engine is told of it."""

    def program() -> None:
        RemoteScript("one", RemoteScriptArgs(target=target(env, env.servers[0]), script="true\n"))

    (one,) = record(program).resources.values()
    return one


def test_a_stack_that_exists_keeps_its_limits_until_it_is_told_others() -> None:
    kept = {"connection.dialErrorLimit", "connection.perDialTimeout"}
    found = script(environment())
    assert found.ignores == kept
    assert found.inputs["connection"]["dialErrorLimit"] == 9
    found = script(environment(patience=2))
    assert (found.ignores, found.inputs["connection"]["perDialTimeout"]) == (kept, 10)
    found = script(environment(ssh={"wait_seconds": 600}))
    assert found.ignores == set()
    assert found.inputs["connection"]["dialErrorLimit"] > 60


def test_a_connection_has_no_field_that_nobody_asked_for() -> None:
    """Each is an input of every remote resource, and another one would change all of a stack."""
    assert set(script(environment()).inputs["connection"]) == {
        "dialErrorLimit",
        "host",
        "hostKey",
        "perDialTimeout",
        "port",
        "user",
    }


BASTION = {"host": "gate.example.org", "port": 2222, "user": "jump", "host_key": "ssh-ed25519 BBBB"}


def test_a_bastion_is_gone_through(tmp_path: Path, make_key: Callable[..., Path]) -> None:
    own, gate = make_key("own"), make_key("gate")
    env = environment(
        ssh={"private_key_file": str(own), "bastion": {**BASTION, "private_key_file": str(gate)}}
    )
    found = script(env)
    proxy = found.inputs["connection"]["proxy"]
    assert (proxy["host"], proxy["port"], proxy["user"]) == ("gate.example.org", 2222, "jump")
    assert (proxy["hostKey"], proxy["dialErrorLimit"]) == ("ssh-ed25519 BBBB", 9)
    assert proxy["privateKey"] == gate.read_text()
    assert found.inputs["connection"]["privateKey"] == own.read_text()
    assert "connection" in found.secrets or "connection.proxy.privateKey" in found.secrets


def test_a_bastion_without_settings_of_its_own_has_those_of_the_servers(
    make_key: Callable[..., Path],
) -> None:
    own = make_key("own")
    bastion = {"host": "192.0.2.200", "host_key": "ssh-ed25519 BBBB"}
    env = environment(ssh={"user": "admin", "private_key_file": str(own), "bastion": bastion})
    proxy = script(env).inputs["connection"]["proxy"]
    assert (proxy["port"], proxy["user"], proxy["privateKey"]) == (22, "admin", own.read_text())


def test_a_bastion_has_a_host_key_or_the_file_of_one(tmp_path: Path) -> None:
    for fields in ({}, {"host_key": "ssh-ed25519 BBBB", "host_key_file": "known"}):
        with pytest.raises(ConfigurationError, match=r"ssh.bastion: .*one of host_key and host_key_file"):
            environment(ssh={"bastion": {"host": "gate", **fields}})
    env = environment(ssh={"bastion": {"host": "gate", "host_key_file": "known"}})
    env = env.model_copy(update={"servers": []})
    with pytest.raises(ConfigurationError, match=r"ssh.bastion.host_key_file: there is no file known"):
        with_host_keys(env, "x", tmp_path)
    (tmp_path / "known").write_text("other ssh-ed25519 AAAA\n")
    with pytest.raises(ConfigurationError, match=r"ssh.bastion.host_key_file: known has no key of gate"):
        with_host_keys(env, "x", tmp_path)
    (tmp_path / "known").write_text(f"gate {KEY}\n")
    bastion = with_host_keys(env, "x", tmp_path).ssh.bastion
    assert bastion is not None
    assert bastion.host_key == KEY


# --- keys and agents ---


@pytest.fixture
def make_key(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a key of a name, with a passphrase and further words for ssh-keygen."""

    def make(name: str, passphrase: str = "", *words: str) -> Path:
        path = tmp_path / name
        command = ["ssh-keygen", "-q", "-N", passphrase, "-C", "test", "-f", str(path), *words]
        subprocess.run(command, check=True)
        return path

    return make


@pytest.mark.parametrize(
    "words", [("-t", "ed25519"), ("-t", "rsa", "-m", "PEM"), ("-t", "ecdsa", "-m", "PKCS8")]
)
def test_a_key_is_told_from_one_with_a_passphrase(
    words: tuple[str, ...], make_key: Callable[..., Path]
) -> None:
    plain = make_key("plain", "", *words).read_text()
    for text in (plain, plain.rstrip("\n"), plain.replace("\n", "\r\n")):
        assert key_problem(text) == ""
    assert key_problem(make_key("locked", "a passphrase", *words).read_text()) == "it is encrypted"


def test_what_is_no_private_key_is_said_to_be_none(make_key: Callable[..., Path]) -> None:
    path = make_key("one")
    half = "".join(path.read_text().splitlines(keepends=True)[:3])
    for text in ("", "a key\n", half):
        assert key_problem(text) == "it is not a private key that ssh can read"
    assert key_problem(path.with_suffix(".pub").read_text()) == "it is a public key"
    assert key_problem("PuTTY-User-Key-File-3: ssh-ed25519\n") == "it is a key of PuTTY"


def test_without_the_tools_of_ssh_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert key_problem("a key") == ""
    assert agent_problem("/nowhere") == ""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an agent without keys, below a folder with a blank in its name."""
    socket = tmp_path / "an agent" / "socket"
    socket.parent.mkdir()
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # What it prints, it prints once it listens.
    yield socket
    process.terminate()
    process.wait()


def add(agent: Path, key: Path) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment)


def test_an_agent_is_there_and_holds_a_key(agent: Path, make_key: Callable[..., Path]) -> None:
    assert agent_problem(str(agent)) == f"the SSH agent at {agent} has no key"
    assert agent_problem(f"{agent}-not") == f"no SSH agent answers at {agent}-not"
    assert agent_problem(None) == agent_problem("") == "no SSH agent is named by SSH_AUTH_SOCK"
    add(agent, make_key("one"))
    assert agent_problem(str(agent)) == ""


def test_the_way_out_of_a_key_of_another_kind(tmp_path: Path, make_key: Callable[..., Path]) -> None:
    make_key("one")
    (tmp_path / "putty").write_text("PuTTY-User-Key-File-3: ssh-ed25519\n")
    values = environment(3).model_dump(mode="json", exclude_unset=True)
    values["ssh"] = {"private_key_file": "one.pub"}
    values["servers"][1]["private_key_file"] = "putty"
    (public, putty), _ = credential_mistakes(parse_environment(values, "x"), tmp_path)
    assert public.startswith(
        "  ssh.private_key_file: one.pub cannot be used: it is a public key; the private one is one"
    )
    assert "puttygen putty -O private-openssh" in putty


def test_every_key_that_cannot_be_used_is_named_by_its_field(
    tmp_path: Path, make_key: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    make_key("locked", "a passphrase")
    (tmp_path / "text").write_text("a key")
    values = environment(3).model_dump(mode="json", exclude_unset=True)
    values["ssh"] = {"private_key_file": "locked", "bastion": {**BASTION, "private_key_file": "text"}}
    values["servers"][1]["private_key_file"] = "text"
    env = parse_environment(values, "x")
    for preview in (True, False):
        with pytest.raises(ConfigurationError, match="nothing has been changed") as caught:
            check_credentials(env, preview=preview, folder=tmp_path)
        text = str(caught.value)
        assert "  ssh.private_key_file: locked cannot be used: it is encrypted;" in text
        assert "leave the field out and type: ssh-add locked" in text
        assert "  servers[1].private_key_file: text cannot be used: it is not a private key" in text


def test_without_a_key_file_the_agent_is_looked_at(
    tmp_path: Path, agent: Path, make_key: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    env = environment(3)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    with pytest.raises(
        ConfigurationError, match=r"ssh.private_key_file: not set, and so s1 and 2 more"
    ) as caught:
        check_credentials(env, preview=False)
    assert "has no key; type: eval" in str(caught.value)
    # Who only looks may do so without the keys to the servers.
    (warning,) = check_credentials(env, preview=True)
    assert warning.startswith("ssh.private_key_file: not set")
    add(agent, make_key("one"))
    assert check_credentials(env, preview=False) == []
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(ConfigurationError, match="no SSH agent is named by SSH_AUTH_SOCK"):
        check_credentials(env, preview=False)


def test_nobody_asks_for_an_agent_where_every_server_has_a_file(
    tmp_path: Path, make_key: Callable[..., Path]
) -> None:
    make_key("one")
    for bastion in ({}, {"bastion": BASTION}):
        env = environment(2, ssh={"private_key_file": "one", **bastion})
        assert credential_mistakes(env, tmp_path, {}) == ([], [])
    values = environment(2).model_dump(mode="json", exclude_unset=True)
    for server in values["servers"]:
        server["private_key_file"] = "one"
    values["ssh"] = {"bastion": BASTION}
    _, (mistake,) = credential_mistakes(parse_environment(values, "x"), tmp_path, {})
    assert "and so the bastion would be reached by the SSH agent" in mistake
