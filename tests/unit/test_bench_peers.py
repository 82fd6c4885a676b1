"""The comparison with other tools: the same work for each, verified, and told as ratios."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from jarvis.config import ServerRole, parse_environment
from tests.bench.peers.measure import PeerError, Tool, environment_on, verify, verify_looking
from tests.bench.peers.role import FILES, read_role, write_role
from tests.bench.report import peer_rows


def test_a_role_is_read_as_it_was_written(tmp_path: Path) -> None:
    role = write_role("one", tmp_path / "one")
    assert read_role(tmp_path / "one" / "role.json") == role
    assert len(role.files) == FILES
    assert all((tmp_path / "one" / name).stat().st_size for name in role.files)


def test_two_roles_share_no_path_and_no_unit(tmp_path: Path) -> None:
    one, other = (write_role(name, tmp_path / name) for name in ("one", "other"))
    assert not set(one.files.values()) & set(other.files.values())
    assert not set(one.units) & set(other.units)


def test_files_or_units_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    role = write_role("one", tmp_path / "one")
    content = b"".join((tmp_path / "one" / name).read_bytes() for name in role.files)
    digest = hashlib.sha256(content).hexdigest()
    active = "active\n" * len(role.units)
    verify(role, lambda _: f"{digest}  -\n{active}")
    with pytest.raises(PeerError, match="one: the files on the server are not those"):
        verify(role, lambda _: f"{digest[::-1]}  -\n{active}")
    with pytest.raises(PeerError, match="one: units are not active"):
        verify(role, lambda _: f"{digest}  -\n{active.replace('active', 'inactive', 1)}")


def test_ratios_stand_beside_what_was_aimed_at() -> None:
    peers = {
        "seconds": {
            "jarvis": {"first_seconds": 5.0, "unchanged_seconds": 1.0, "looking_seconds": 2.0},
            "ansible": {"first_seconds": 70.0, "unchanged_seconds": 68.0, "looking_seconds": 50.0},
        },
        "ratios": {
            "ansible": {"first_seconds": 0.071, "unchanged_seconds": 0.015, "looking_seconds": 0.04},
        },
    }
    assert list(peer_rows(peers)) == [
        ("jarvis", "5.0 s", "", "1.0 s", "", "2.0 s", ""),
        (
            *("ansible", "70.0 s", "0.071 (aim 0.15)", "68.0 s", "0.015 (aim 0.05)"),
            *("50.0 s", "0.040 (aim 0.05)"),
        ),
    ]


def looking(edited: list[str]) -> Tool:
    """As Jarvis' preview: it fails where something was ``edited``."""

    def look() -> None:
        if edited:
            raise PeerError("error: no changes were expected but changes were proposed")

    return Tool(once=lambda: None, look=look)


def test_a_preview_that_does_not_find_an_edited_file_is_an_error(tmp_path: Path) -> None:
    role, edited = write_role("one", tmp_path / "one"), list[str]()

    def do(command: str) -> str:
        if command.startswith("mv"):
            edited.clear()
        else:
            edited.append(command)
        return ""

    verify_looking(role, looking(edited), do)
    assert not edited
    with pytest.raises(PeerError, match=r"\.conf was edited, and the preview did not find it"):
        verify_looking(role, looking([]), do)


def test_the_first_three_of_many_servers_have_the_roles_of_a_lab() -> None:
    servers = [{"name": f"many-{number}", "address": f"10.94.0.{10 + number}"} for number in range(1, 31)]
    facts = {
        "network": "10.94.0.0/24",
        "virtual_address": "10.94.0.5",
        "private_key_path": "key",
        "known_hosts_path": "known_hosts",
        "servers": servers,
    }
    env = parse_environment(environment_on(facts), "many")
    assert len(env.present) == 30
    assert env.present[2].roles == env.present[0].roles
    assert env.present[3].roles == {ServerRole.WORKER}
