"""The lab's virtual machines: what QEMU is told, and whether KVM is taken."""

from __future__ import annotations

import json
import os
from ipaddress import IPv4Network
from itertools import pairwise
from pathlib import Path

import pytest

from lab import image, operate, virtual
from lab.model import Server, Settings, State, load, save
from lab.shell import LabError
from tests.bench.report import virtual_machine
from tests.unit.fakes import Commands

SERVER = Server(name="vm-1", address="10.90.0.11", machine_id="0" * 32)


def _settings(state: Path) -> Settings:
    return Settings("vm", IPv4Network("10.90.0.0/24"), 1, "6g", "30g", state, kind="vm")


def test_disks_and_card_have_the_slots_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "boot", lambda key: (Path("kernel"), Path("initial")))
    state = State("vm", "10.90.0.0/24", "6g", "30g", "vm-key")
    argv = virtual.command(_settings(tmp_path), state, SERVER, tmp_path, ["-accel", "tcg"])
    devices = [value for option, value in pairwise(argv) if option == "-device"]
    slots = {word.split(",")[1]: word.rsplit("addr=", 1)[1] for word in devices if "addr=" in word}
    assert slots == {"drive=root": "0x5", "drive=osd": "0x6", "drive=swap": "0x7", "netdev=net": "0x3"}
    assert argv[argv.index("-m") + 1] == "6G"
    assert "iface ens3 inet static\n\taddress 10.90.0.11/24\n" in virtual.interfaces(
        _settings(tmp_path), SERVER
    )


@pytest.mark.parametrize(
    ("qemu", "taken"),
    [
        ("echo 'Kernel panic - not syncing: VFS: Unable to mount root fs'", "kvm"),
        ("echo 'failed to set MSR 0x10a'; exit 1", "tcg,thread=multi"),
        ("exec sleep 60", "tcg,thread=multi"),
    ],
)
def test_kvm_is_taken_only_where_a_guest_runs_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qemu: str, taken: str
) -> None:
    commands = Commands(tmp_path / "bin")
    commands.add("qemu-system-x86_64", qemu)
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    monkeypatch.setattr(image, "boot", lambda key: (Path("kernel"), Path("initial")))
    monkeypatch.setattr(virtual, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert virtual.accelerator("key")[1] == taken
    assert len(commands.calls("qemu-system-x86_64")) == 1


def test_the_image_says_of_which_kind_a_lab_is(tmp_path: Path) -> None:
    """No field does: an older version of the lab could not read the file, and would clear the lab away."""
    file = tmp_path / "lab.json"
    for kind in ("box", "vm"):
        save(file, State("vm", "10.90.0.0/24", "6g", "30g", image.digest(kind), servers=[SERVER]))
        assert set(json.loads(file.read_text())) == {
            "name",
            "subnet",
            "memory",
            "disk",
            "image",
            "owner",
            "servers",
        }
        again = load(file)
        assert again is not None
        assert again.kind == kind


@pytest.mark.parametrize(("processor", "told"), [(["-accel", "kvm"], False), (["-accel", "tcg"], True)])
def test_only_a_translated_processor_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: list[str], told: bool
) -> None:
    monkeypatch.setattr(image, "boot", lambda key: (Path("kernel"), Path("initial")))
    state = State("vm", "10.90.0.0/24", "6g", "30g", "vm-key")
    argv = virtual.command(_settings(tmp_path), state, SERVER, tmp_path, processor)
    assert ("mitigations=off" in argv[argv.index("-append") + 1]) is told


def test_the_image_of_a_virtual_machine_is_another() -> None:
    assert image.digest("vm") != image.digest()
    assert set(image.packages()) < set(image.packages("vm"))


def test_the_last_trial_stands_in_the_figures() -> None:
    steps = [{"what": "the first up gives a cloud", "outcome": "passed", "seconds": 1234.5}]
    found = {"processor": "tcg", "patience": 20, "date": "2026-11-27", "commit": "abc1234", "load": 0.5}
    lines = list(virtual_machine({**found, "passed": True, "steps": steps}))
    assert lines[2].endswith("commit abc1234, load before the start 0.5.")
    assert lines[-1] == "| the first up gives a cloud | passed | 1234 s |"


def test_the_figures_say_where_a_trial_ended_early() -> None:
    """A deployment that fails ends the trial, and what was tested before may all have passed."""
    found = {"processor": "tcg", "patience": 20, "date": "2026-11-27", "commit": "abc1234", "load": 0.5}
    lines = list(virtual_machine({**found, "passed": False, "steps": []}))
    assert "**The trial failed or ended early.**" in lines[2]


def test_a_lab_stays_of_its_kind(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    save(settings.file, State("vm", "10.90.0.0/24", "6g", "30g", "key", servers=[SERVER]))
    with pytest.raises(LabError, match="lab vm is of the kind box: `python -m lab down --name vm` first"):
        operate.up(settings)
