"""The scripts that ask and change a server's part of Kubernetes, with stand-ins for its commands."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.fakes import Commands


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "bin")


def folder(root: Path, name: str, **files: str) -> None:
    base = root / "etc" / "kubernetes" / name
    base.mkdir(parents=True)
    for file, text in files.items():
        (base / file.replace("_", ".")).write_text(text)


def test_one_ready_apiserver_is_enough(commands: Commands, tmp_path: Path) -> None:
    commands.add("curl", '[[ "$*" == *https://b:6443/readyz ]]')
    script = "kubernetes/apiserver-ready.sh"
    assert commands.run(script, "a:6443", "b:6443", root=tmp_path).returncode == 0
    none = commands.run(script, "a:6443", "c:6443", root=tmp_path)
    assert none.returncode == 1
    assert "not ready: a:6443 c:6443" in none.stderr


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("Ready", 0),
        ("Ready,SchedulingDisabled", 0),
        ("NotReady", 1),
        ("NotReady,SchedulingDisabled", 1),
        ("Unknown", 1),
    ],
)
def test_a_node_is_ready_when_the_apiserver_says_so(
    commands: Commands, tmp_path: Path, cell: str, status: int
) -> None:
    # Indented, as the API server does it for a client called curl.
    table = {"kind": "Table", "columnDefinitions": [], "rows": [{"cells": ["s1", cell, "<none>"]}]}
    commands.say("curl", json.dumps(table, indent=2))
    result = commands.run("kubernetes/node-ready.sh", "s1", root=tmp_path)
    assert result.returncode == status, result.stderr


def test_a_connection_that_is_cut_does_not_keep_a_node_from_its_labels(
    commands: Commands, tmp_path: Path
) -> None:
    commands.add("sleep")
    commands.add("curl", f'[ -e "{tmp_path}/cut" ] || {{ touch "{tmp_path}/cut"; exit 16; }}')
    result = commands.run("kubernetes/node-labels.sh", "s1", root=tmp_path, JARVIS_PATIENCE_FACTOR="3")
    assert result.returncode == 0, result.stderr
    assert [" --max-time 30 " in call for call in commands.calls("curl")] == [True, True]


def test_labels_that_are_refused_are_told(commands: Commands, tmp_path: Path) -> None:
    commands.add("sleep")
    commands.add("curl", "echo 'curl: (22) error: 403' >&2; exit 22")
    result = commands.run("kubernetes/node-labels.sh", "s1", root=tmp_path, JARVIS_PATIENCE="0")
    assert (result.returncode, result.stderr) == (1, "curl: (22) error: 403\n")


def test_routes_are_replaced_and_those_of_servers_that_left_removed(
    commands: Commands, tmp_path: Path
) -> None:
    routes = "10.244.1.0/24 via 10.0.0.12\n10.244.0.0/24 here\n10.96.0.0/16 from 10.0.0.11\n"
    folder(tmp_path, "pod-network", routes=routes, rules_nft="", access_nft="add table x\n")
    commands.add(
        "ip",
        'case "$*" in'
        ' *"address show"*) echo "3: bond0    inet 10.0.0.11/24 scope global bond0";;'
        ' *"route show"*) echo "10.244.1.0/24 via 10.0.0.12 dev bond0"; echo "10.244.7.0/24 via 10.0.0.17";'
        ' echo "blackhole 10.244.0.0/24 metric 4096"; echo "blackhole 10.244.8.0/24 metric 4096";;'
        " esac",
    )
    commands.add("nft", f'[ "$2" != - ] || cat >"{tmp_path}/given"')
    commands.add("jarvis-access", "echo add element x")
    (tmp_path / "var/lib/jarvis").mkdir(parents=True)
    (tmp_path / "var/lib/jarvis/cni").symlink_to(commands.folder)
    assert commands.run("kubernetes/pod-network.sh", "up", root=tmp_path).returncode == 0
    assert commands.calls("ip") == [
        "ip route replace 10.244.1.0/24 via 10.0.0.12 proto 178",
        "ip route replace blackhole 10.244.0.0/24 metric 4096 proto 178",
        "ip -o -4 address show to 10.0.0.11",
        "ip route replace 10.96.0.0/16 dev bond0 src 10.0.0.11 proto 178",
        "ip -4 route show proto 178",
        "ip route delete 10.244.7.0/24 proto 178",
        "ip route delete 10.244.8.0/24 proto 178",
    ]
    rules = f"{tmp_path}/etc/kubernetes/pod-network"
    assert commands.calls("nft") == [f"nft --file {rules}/rules.nft", "nft --file -"]
    assert commands.calls("jarvis-access") == [f"jarvis-access list {rules}/access.nft"]
    assert (tmp_path / "given").read_text() == "add table x\nadd element x\n"


def test_the_virtual_address_goes_to_the_interface_of_the_servers_address(
    commands: Commands, tmp_path: Path
) -> None:
    folder(tmp_path, "virtual-address", address="10.0.0.11\n", keepalived_conf="interface %INTERFACE%\n")
    (tmp_path / "run" / "jarvis-virtual-address").mkdir(parents=True)
    commands.say("ip", "3: bond0    inet 10.0.0.11/24 scope global bond0\n")
    commands.add("keepalived")
    assert commands.run("kubernetes/virtual-address-config.sh", root=tmp_path).returncode == 0
    result = tmp_path / "run" / "jarvis-virtual-address" / "keepalived.conf"
    assert result.read_text() == "interface bond0\n"


def test_an_address_that_the_server_does_not_have_is_an_error(commands: Commands, tmp_path: Path) -> None:
    folder(tmp_path, "virtual-address", address="10.0.0.11\n", keepalived_conf="interface %INTERFACE%\n")
    commands.say("ip", "")
    result = commands.run("kubernetes/virtual-address-config.sh", root=tmp_path)
    assert result.returncode == 1
    assert "no interface has the address 10.0.0.11" in result.stderr


class Holder:
    """A server that may hold the virtual address; ``held`` while the file ``held`` is there."""

    def __init__(self, commands: Commands, root: Path, peers: str = "unicast_peer {") -> None:
        self.commands, self.root = commands, root
        self.run_dir = root / "run" / "jarvis-virtual-address"
        self.run_dir.mkdir(parents=True)
        (self.run_dir / "keepalived.conf").write_text(peers)
        (root / "held").touch()
        commands.add("ip", f'[ ! -e "{root}/held" ] || echo "2: eth0 inet 10.0.0.100/32"')
        ready = root / "var/lib/jarvis/bin/apiserver-ready"
        ready.parent.mkdir(parents=True)
        ready.write_text(f'#!/bin/bash\necho "$1" >>"{root}/asked"\n[ ! -e "{root}/dead" ]\n')
        ready.chmod(0o755)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.commands.run("kubernetes/hand-over.sh", *words, root=self.root, JARVIS_PATIENCE="2")

    def flag(self) -> str:
        return (self.run_dir / "leaving").read_text()


def test_the_address_is_elsewhere_before_an_apiserver_stops(commands: Commands, tmp_path: Path) -> None:
    holder = Holder(commands, tmp_path)
    # keepalived takes it away as soon as it sees the flag.
    commands.add("sleep", f'[ "$(cat "{holder.run_dir}/leaving")" != 1 ] || rm -f "{tmp_path}/held"')
    result = holder.run("leave", "10.0.0.100:6443")
    assert result.returncode == 0, result.stderr
    assert holder.flag() == "1\n"
    assert not (tmp_path / "held").exists()
    assert (tmp_path / "asked").read_text() == "10.0.0.100:6443\n"
    assert holder.run("stay").returncode == 0
    assert holder.flag() == "0\n"


def test_a_server_without_the_address_takes_it_from_nobody_who_stops(
    commands: Commands, tmp_path: Path
) -> None:
    holder = Holder(commands, tmp_path)
    (tmp_path / "held").unlink()
    assert holder.run("leave", "10.0.0.100:6443").returncode == 0
    assert holder.flag() == "1\n"
    assert not (tmp_path / "asked").exists()


def test_that_nobody_took_the_address_is_said(commands: Commands, tmp_path: Path) -> None:
    holder = Holder(commands, tmp_path)
    result = holder.run("leave", "10.0.0.100:6443")
    assert result.returncode == 1
    assert "no other server has taken 10.0.0.100 within 2 s" in result.stderr


@pytest.mark.parametrize("peers", ["", None])
def test_the_only_holder_keeps_the_address(commands: Commands, tmp_path: Path, peers: str | None) -> None:
    holder = Holder(commands, tmp_path, peers or "")
    if peers is None:
        (holder.run_dir / "keepalived.conf").unlink()
    assert holder.run("leave", "10.0.0.100:6443").returncode == 0
    assert not (holder.run_dir / "leaving").exists()


@pytest.mark.parametrize(
    ("active", "asked"), [(0, ["127.0.0.1:6443", "10.0.0.100:6443"]), (3, ["127.0.0.1:6443"])]
)
def test_an_apiserver_serves_when_the_virtual_address_does(
    commands: Commands, tmp_path: Path, active: int, asked: list[str]
) -> None:
    Holder(commands, tmp_path)
    commands.add("systemctl", f"exit {active}")
    result = commands.run("kubernetes/apiserver-serving.sh", "10.0.0.100:6443", root=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "asked").read_text().split() == asked
    (tmp_path / "dead").touch()
    assert commands.run("kubernetes/apiserver-serving.sh", "10.0.0.100:6443", root=tmp_path).returncode == 1


def test_on_a_slow_server_the_schema_is_built_before_it_is_asked_for(
    commands: Commands, tmp_path: Path
) -> None:
    Holder(commands, tmp_path)
    commands.add("systemctl", "exit 3")
    commands.add("curl", f'echo "$*" >>"{tmp_path}/curl"')
    serving = ("kubernetes/apiserver-serving.sh", "10.0.0.100:6443")
    assert commands.run(*serving, root=tmp_path).returncode == 0
    assert not (tmp_path / "curl").exists()
    assert commands.run(*serving, root=tmp_path, JARVIS_PATIENCE_FACTOR="20").returncode == 0
    [asked] = (tmp_path / "curl").read_text().splitlines()
    assert "--max-time 400" in asked
    assert asked.endswith("https://127.0.0.1:6443/openapi/v2")
