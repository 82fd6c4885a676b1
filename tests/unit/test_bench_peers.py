"""The comparison with other tools: the same work for each, verified, and told as ratios."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.bench.peers.measure import PeerError, verify
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
            "jarvis": {"first_seconds": 5.0, "unchanged_seconds": 1.0},
            "ansible": {"first_seconds": 70.0, "unchanged_seconds": 68.0},
        },
        "ratios": {"ansible": {"first_seconds": 0.071, "unchanged_seconds": 0.015}},
    }
    assert list(peer_rows(peers)) == [
        ("jarvis", "5.0 s", "", "1.0 s", ""),
        ("ansible", "70.0 s", "0.071 (aim 0.15)", "68.0 s", "0.015 (aim 0.05)"),
    ]
