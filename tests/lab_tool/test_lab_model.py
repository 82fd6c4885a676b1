"""Names, sizes, addresses and the file that remembers a lab."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import image
from lab.machine import places
from lab.model import Server, Settings, State, load, new_server, save, write
from lab.shell import LabError


def settings(state: Path, **other: object) -> Settings:
    values: dict[str, object] = {
        "name": "box",
        "subnet": IPv4Network("10.1.2.0/24"),
        "count": 3,
        "memory": "4g",
        "disk": "20g",
        "state": state,
    }
    return Settings(**(values | other))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "option"),
    [
        ("name", "Box", "--name"),
        ("name", "a-name-too-long", "--name"),
        ("name", "-box", "--name"),
        ("subnet", IPv4Network("8.8.8.0/24"), "--subnet"),
        ("subnet", IPv4Network("10.1.2.0/26"), "--subnet"),
        ("count", 0, "--count"),
        ("count", 90, "--count"),
        ("memory", "4", "--memory"),
        ("disk", "lots", "--disk"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, field: str, value: object, option: str) -> None:
    with pytest.raises(LabError, match=option):
        settings(tmp_path, **{field: value})


def test_interface_names_fit_the_kernel(tmp_path: Path) -> None:
    longest = settings(tmp_path, name="abcdefghijkl")
    assert len(longest.bridge) <= 15
    assert len(new_server(longest, []).name) <= 15


def test_servers_get_addresses_from_eleven_on_and_never_the_virtual_one(tmp_path: Path) -> None:
    box = settings(tmp_path)
    servers: list[Server] = []
    while len(servers) < 89:
        servers.append(new_server(box, servers))
    assert [s.address for s in servers[:2]] == ["10.1.2.11", "10.1.2.12"]
    assert str(box.virtual_address) == "10.1.2.100"
    assert len({s.address for s in servers}) == len({s.mac for s in servers}) == 89
    assert str(box.virtual_address) not in {s.address for s in servers}
    with pytest.raises(LabError, match="no address is left"):
        new_server(box, servers)


def test_a_free_address_is_used_again(tmp_path: Path) -> None:
    box = settings(tmp_path)
    first, second = Server("box-1", "10.1.2.11", "a"), Server("box-3", "10.1.2.13", "b")
    made = new_server(box, [first, second])
    assert (made.name, made.address) == ("box-2", "10.1.2.12")


def test_a_name_is_taken_only_once(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="box-1 already"):
        new_server(settings(tmp_path), [Server("box-1", "10.1.2.11", "a")], "box-1")
    with pytest.raises(LabError, match="server name"):
        new_server(settings(tmp_path), [], "Über")


def test_a_lab_is_remembered(tmp_path: Path) -> None:
    state = State("box", "10.1.2.0/24", "4g", "20g", "abc", (12, 34), [Server("box-1", "10.1.2.11", "a")])
    save(tmp_path / "lab.json", state)
    assert load(tmp_path / "lab.json") == state
    assert load(tmp_path / "other.json") is None


@pytest.mark.parametrize("text", ["", "{", '{"name": "box"}', "[]"])
def test_a_damaged_memory_is_one_clear_error(tmp_path: Path, text: str) -> None:
    write(tmp_path / "lab.json", text)
    with pytest.raises(LabError, match="lab down"):
        load(tmp_path / "lab.json")


def test_the_image_follows_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "run").write_text("x")
    monkeypatch.setattr(image, "RECIPE", tmp_path)
    first = image.digest()
    assert image.digest() == first
    (tmp_path / "files" / "run").chmod(0o755)
    second = image.digest()
    (tmp_path / "files" / "run").write_text("y")
    assert len({first, second, image.digest()}) == 3


def test_the_longest_name_leaves_room_for_podmans_run_folder(tmp_path: Path) -> None:
    longest = settings(tmp_path, name="a" * 12)
    for number in (1, 99):
        assert len(str(places(longest, f"{longest.name}-{number}").run_dir)) <= 50
