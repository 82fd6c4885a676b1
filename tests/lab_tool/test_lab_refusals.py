"""What the lab refuses, and what it clears away: it touches nothing that no lab made."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from lab_cli import CHECKOUT, Lab

from lab import procs

ONE = "labtool-1"


@contextmanager
def stranger(name: str, *address: str) -> Iterator[None]:
    """An interface that no lab made."""
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        for one in address:
            subprocess.run(["ip", "address", "add", one, "dev", name], check=True)
        yield
        subprocess.run(["ip", "link", "show", name], check=True, capture_output=True)
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


def everything(lab: Lab) -> list[procs.Box]:
    return [box for box in procs.boxes() if box.state == lab.state]


def slaughter(lab: Lab) -> None:
    """SIGKILL all processes of a lab, as a machine short of memory or an impatient CI does."""
    for box in everything(lab):
        conmon = procs.parent(box.pid)
        for pid in (conmon, box.pid):
            if pid is not None and pid != 1:
                procs.kill(pid)


@pytest.mark.parametrize("address", ["10.99.250.7/24", "10.99.250.77/32", "10.99.250.1/22"])
def test_a_subnet_that_is_taken(other: Lab, address: str) -> None:
    lab = replace(other, subnet="10.99.250.0/24")
    with stranger("labtool-x", address):
        error = lab.refused("up")
    assert "10.99.250.0/24" in error
    assert "labtool-x" in error
    assert lab.traces() == []


def test_a_route_that_is_taken(other: Lab) -> None:
    lab = replace(other, subnet="10.99.250.0/24")
    with stranger("labtool-x", "10.98.0.1/24"):
        subprocess.run(["ip", "link", "set", "labtool-x", "up"], check=True)
        subprocess.run(["ip", "route", "add", "10.99.250.128/25", "dev", "labtool-x"], check=True)
        error = lab.refused("up")
    assert "10.99.250.128/25" in error
    assert lab.traces() == []


@pytest.mark.parametrize("name", ["br-labtool", ONE])
def test_a_name_that_is_taken(other: Lab, name: str) -> None:
    with stranger(name):
        assert name in other.refused("up")
        other.ok("down")  # touches it neither
    assert other.traces() == []


def test_a_name_and_a_subnet_that_another_lab_uses(lab: Lab, other: Lab) -> None:
    before = everything(lab)
    for rival in (
        other,
        replace(other, name="labtoo", subnet=lab.subnet),
        replace(other, subnet="10.99.250.0/24"),
    ):
        error = rival.refused("up")
        assert str(lab.state) in error
        assert "lab down --name labtool --state" in error
        assert rival.traces() == []
    assert everything(lab) == before


def test_wrong_words_are_refused(lab: Lab, other: Lab) -> None:
    assert "labtool-1" in lab.refused("power-off", "labtool-9")
    assert "labtool-1 already" in lab.refused("add", ONE)
    assert "10.99.251.0/24" in replace(lab, subnet="10.99.250.0/24").refused("up")
    assert "--subnet" in replace(lab, subnet="10.99.250.1/24").refused("up")
    for words in (("power-on", ONE), ("status",), ("console", ONE), ("add",), ("config",)):
        assert "no lab labtool" in other.refused(*words)


def test_debian_that_cannot_be_reached(other: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = replace(other, subnet="10.99.250.0/24", name="labtoo")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JARVIS_DEBIAN_MIRROR", "http://127.0.0.1:9/debian")
    error = lab.refused("up")
    log = Path(error.split("see ")[1].split(",")[0])
    assert "127.0.0.1" in log.read_text()
    assert lab.traces() == []
    assert not list((tmp_path / "cache").rglob("rootfs/etc"))


def test_killed_servers_are_started_again(lab: Lab) -> None:
    lab.ssh(ONE, "echo kept >/var/lib/kept; sync")
    slaughter(lab)
    assert lab.status()[ONE]["state"] == "off"
    lab.ok("up", "--owner", str(os.getpid()))
    assert lab.status()[ONE]["state"] == "running"
    assert lab.ssh(ONE, "cat /var/lib/kept") == "kept\n"


def test_a_server_whose_keeper_was_killed_can_be_powered_off(lab: Lab) -> None:
    (box,) = everything(lab)
    conmon = procs.parent(box.pid)
    assert conmon is not None
    procs.kill(conmon)
    assert lab.status()[ONE]["state"] == "running"
    lab.ok("power-off", ONE)
    lab.ok("power-on", ONE)
    assert lab.status()[ONE]["state"] == "running"


def test_a_deleted_bridge_is_made_again(lab: Lab) -> None:
    before = everything(lab)
    subprocess.run(["ip", "link", "delete", "br-labtool"], check=True)
    lab.ok("up", "--owner", str(os.getpid()))
    assert lab.ssh(ONE, "hostname").strip() == ONE
    assert everything(lab) == before


def test_up_can_be_killed_at_any_point(lab: Lab) -> None:
    # A signal at another moment each round; the last rounds may come after its end.
    for moment in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9):
        lab.ok("power-off", ONE)
        with subprocess.Popen(
            lab.argv("up", "--count", "2"),
            cwd=CHECKOUT,
            env=lab.environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            assert command.stderr is not None
            command.stderr.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(moment)
            command.send_signal(signal.SIGKILL)
        lab.ok("up", "--owner", str(os.getpid()))
        assert {row["state"] for row in lab.status().values()} == {"running"}
    assert lab.ssh(ONE, "hostname").strip() == ONE


def test_what_a_dead_owner_left_running_is_cleared(other: Lab, lab: Lab) -> None:
    # The lab of these tests makes room: its name and subnet go to a lab whose owner then ends.
    lab.ok("down")
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as owner:
        other.ok("up", "--owner", str(owner.pid))
        assert str(other.state) in lab.refused("up")
        assert owner.stdin is not None
        owner.stdin.close()
    assert everything(other)
    said = lab.ok("up", "--owner", str(os.getpid()))
    assert f"clearing what the lab in {other.state} left behind" in said
    assert everything(other) == []
    assert [line for line in other.traces() if not line.startswith("folder")] == []
    assert lab.status()[ONE]["state"] == "running"


def test_what_a_deleted_checkout_left_running_is_cleared(other: Lab, lab: Lab) -> None:
    lab.ok("down")
    other.ok("up")
    shutil.rmtree(other.state)
    assert everything(other)
    lab.ok("down", "--leftovers")
    assert other.traces() == []
    lab.ok("up", "--owner", str(os.getpid()))


def test_down_leaves_nothing(lab: Lab) -> None:
    assert len(lab.traces()) > 5
    lab.ok("down")
    assert lab.traces() == []
    assert "nothing to remove" in lab.ok("down")


def test_down_clears_a_lab_whose_memory_is_damaged(lab: Lab) -> None:
    lab.ok("up", "--owner", str(os.getpid()))
    (lab.state / "lab.json").write_text("{")
    assert "lab down" in lab.refused("status")
    lab.ok("down")
    assert lab.traces() == []
