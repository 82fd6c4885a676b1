"""What runs beside Nova in its image: the probe of its workers, and what its Jobs run."""

from __future__ import annotations

import datetime
import os
import socket
from pathlib import Path

import pytest

from images.openstack import nova_cells, working

PORT = 5671
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TODAY = datetime.date(2026, 11, 28)


def proc(folder: Path, *, port: int = PORT, state: str = "01", opened: str = "4242") -> Path:
    """A /proc with one connection to ``port`` and one process that has ``opened``."""
    (folder / "self/net").mkdir(parents=True)
    line = (
        f"   0: 0100007F:AFC8 0100007F:{port:04X} {state} 00000000:00000000 02:000A 00000000 42430 0 4242 2"
    )
    (folder / "self/net/tcp").write_text(f"{HEAD}{line} 0000 20 4 30 10 -1\n")
    (folder / "7/fd").mkdir(parents=True)
    (folder / "7/fd/3").symlink_to(f"socket:[{opened}]")
    return folder


def test_a_process_with_an_established_connection_works(tmp_path: Path) -> None:
    assert working.connected(PORT, proc(tmp_path))


def test_a_connection_elsewhere_or_of_nobody_or_that_ends_is_none(tmp_path: Path) -> None:
    found = [
        working.connected(PORT, proc(tmp_path / "a", port=3306)),
        working.connected(PORT, proc(tmp_path / "b", opened="1")),
        # CLOSE_WAIT: the queue has ended it, and the process has not noticed.
        working.connected(PORT, proc(tmp_path / "c", state="08")),
    ]
    assert found == [False, False, False]


def test_a_proxy_without_a_queue_behind_it_is_not_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is gone."""
    monkeypatch.setattr(working, "_PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The kernel accepts, and nobody shakes hands.
        assert not working.reachable("127.0.0.1", port)
    assert not working.reachable("127.0.0.1", port)


@pytest.fixture
def manage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a nova-manage that writes down how it is called, and ends with what ``statuses`` says."""
    program = tmp_path / "nova-manage"
    program.write_text(
        f'#!/bin/sh\necho "$*" "$OS_DATABASE__CONNECTION" >>{tmp_path}/calls\nexit "$(cat {tmp_path}/$2)"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    ("archived", "purged", "status"), [(0, 3, 0), (1, 0, 0), (2, 0, 1), (0, 4, 1), (255, 0, 1)]
)
def test_tidying_up_ends_well_whether_there_was_something_or_not(
    manage: Path, archived: int, purged: int, status: int
) -> None:
    (manage / "archive_deleted_rows").write_text(str(archived))
    (manage / "purge").write_text(str(purged))
    assert nova_cells.tidy(30, 90, TODAY) == status
    calls = (manage / "calls").read_text().splitlines()
    assert calls[0].split()[-1] == "2026-10-29"
    assert [line.split()[-1] for line in calls[1:]] == ([] if archived not in (0, 1) else ["2026-08-30"])


def test_nothing_is_removed_for_good_before_it_is_moved_aside(manage: Path) -> None:
    for name in ("archive_deleted_rows", "purge"):
        (manage / name).write_text("0")
    nova_cells.tidy(30, 7, TODAY)
    assert [line.split()[-1] for line in (manage / "calls").read_text().splitlines()] == ["2026-10-29"] * 2


def test_a_command_gets_the_url_of_another_cell(manage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (manage / "sync").write_text("5")
    monkeypatch.setenv(
        "OS_DATABASE__CONNECTION", "mysql+pymysql://a:b@c:3306/nova_cell0?charset=utf8mb4&x=/y"
    )
    assert nova_cells.main(["within", "nova_cell1", "nova-manage", "db", "sync"]) == 5
    url = "mysql+pymysql://a:b@c:3306/nova_cell1?charset=utf8mb4&x=/y"
    assert (manage / "calls").read_text() == f"db sync {url}\n"
