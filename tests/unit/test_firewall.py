"""Who may speak to a server, by the rules; nftables' own check is run where it is allowed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import Environment, parse_environment
from jarvis.hosts.firewall import openings, operator_networks, ruleset
from tests.unit.fakes import Commands


def _environment(**firewall: Any) -> Environment:
    common = ["worker", "gateway"]
    roles = [
        [*common, "etcd", "control-plane", "registry"],
        [*common, "database", "queue", "storage"],
        ["worker"],
    ]
    servers = [
        {"name": f"s{n}", "address": f"192.0.2.1{n}", "host_key": "ssh-ed25519 AAAA", "roles": own}
        for n, own in enumerate(roles, 1)
    ]
    values = {
        "name": "dev",
        "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
        "servers": servers,
        "firewall": firewall,
    }
    return parse_environment(values, "a test")


def _open(env: Environment, index: int) -> dict[int | str, list[str] | None]:
    """By port: to whom it is open."""
    found: dict[int | str, list[str] | None] = {}
    for one in openings(env, env.servers[index]):
        for port in one.ports:
            assert port not in found, "a port has one rule"
            found[port] = None if one.sources is None else list(one.sources)
    return found


ALL = ["192.0.2.11", "192.0.2.12", "192.0.2.13"]


def test_a_server_opens_what_its_roles_need_and_no_more() -> None:
    env = _environment()
    assert _open(env, 0) == {
        22: None,
        443: None,
        6443: None,
        5000: None,
        2379: ALL[:1],
        2380: ALL[:1],
        10250: ALL[:1],
        3306: [*ALL, "10.244.0.0/16"],
        5671: [*ALL, "10.244.0.0/16"],
    }
    assert set(_open(env, 2)) == {22, 3306, 5671, 10250}
    storage = _open(env, 1)
    assert storage[3307] == ALL
    assert storage[4567] == storage[25672] == storage["35672-35682"] == ["192.0.2.12"]
    assert storage["6800-7300"] == [*ALL, "10.244.0.0/16"]


def test_the_outside_comes_in_where_the_configuration_says() -> None:
    env = _environment(
        operators=["198.51.100.0/24"], clients=["203.0.113.0/25"], ports={9100: ["203.0.113.9/32"]}
    )
    found = _open(env, 0)
    assert found[22] == ["198.51.100.0/24"]
    assert found[5000] == [*ALL, "198.51.100.0/24"]
    assert found[3306] == [*ALL, "10.244.0.0/16", "203.0.113.0/25"]
    assert found[9100] == ["203.0.113.9/32"]
    assert operator_networks(env) == "198.51.100.0/24"


def test_a_port_for_nobody_has_no_rule() -> None:
    env = _environment(ports={9100: []})
    assert "9100" not in ruleset(env, env.servers[0])


def test_ssh_is_the_first_rule_and_all_else_the_last() -> None:
    env = _environment()
    text = ruleset(env, env.servers[0])
    rules = text.split("policy accept;\n")[1].split("\n")
    assert [rule.strip().split(" {")[0] for rule in rules[:2]] == [
        "tcp dport 22 ct state new update @ssh-ip",
        "tcp dport 22 ct state new update @ssh-ip6",
    ]
    assert rules[2].strip() == 'tcp dport { 22 } accept comment "SSH"'
    assert [rule.strip() for rule in rules if rule.strip(" }")][-1].startswith("counter reject")
    assert "flush ruleset" not in text
    assert "ip saddr { 192.0.2.11, 192.0.2.12 } ip protocol 112 accept" in text


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "bin")


def _check(commands: Commands, root: Path, connection: str) -> subprocess.CompletedProcess[str]:
    return commands.run(
        "firewall/firewall.sh", "check", "198.51.100.0/24", root=root, SSH_CONNECTION=connection
    )


def test_an_operator_that_would_be_locked_out_is_told_before(commands: Commands, tmp_path: Path) -> None:
    commands.add("nft", '[ "$1" != get ]')
    done = _check(commands, tmp_path, "192.0.2.9 40000 192.0.2.11 22")
    assert done.returncode == 1
    assert "192.0.2.9" in done.stderr
    assert "firewall.operators" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any("--file" in call and "--check" not in call for call in commands.calls("nft"))
    commands.add("nft")
    assert _check(commands, tmp_path, "198.51.100.9 40000 192.0.2.11 22").returncode == 0


def test_rules_that_nftables_refuses_are_not_begun_with(commands: Commands, tmp_path: Path) -> None:
    commands.add("nft", '[ "$1" != --check ]')
    done = _check(commands, tmp_path, "198.51.100.9 40000 192.0.2.11 22")
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr


@pytest.mark.parametrize(("live", "loads"), [("wanted", 1), ("another", 2), ("", 2)])
def test_rules_are_loaded_again_where_others_are_at_work(tmp_path: Path, live: str, loads: int) -> None:
    """Once into a network of its own, to be compared with."""
    commands = Commands(tmp_path / "bin")
    commands.add("unshare", 'shift 2; FRESH=yes exec "$@"')
    commands.add(
        "nft",
        f'[ "$1" != --file ] || exit 0; if [ -n "${{FRESH:-}}" ]; then echo wanted; else echo "{live}"; fi',
    )
    made = tmp_path / "made"
    made.write_text("")
    run = commands.run("firewall/firewall.sh", "keep", root=tmp_path, JARVIS_MADE=str(made))
    assert run.returncode == 0, run.stderr
    loaded = [call for call in commands.calls("nft") if call.startswith("nft --file")]
    assert loaded == [f"nft --file {tmp_path}/etc/jarvis/firewall.nft"] * loads
    assert made.read_text() == "nft inet jarvis /etc/jarvis/firewall.nft\n"


def test_where_rules_cannot_be_compared_they_stay(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "bin")
    commands.say("unshare", "", 1)
    commands.add("nft")
    assert commands.run("firewall/firewall.sh", "keep", root=tmp_path).returncode == 0
    assert commands.calls("nft") == []
