"""When a member of the database begins its cluster, joins it, or waits; and what it finds on its disk."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jarvis.host.database import member as program
from jarvis.host.database.decision import State, decide
from tests.unit.fakes import Commands

MEMBERS = ("a", "b", "c")
UUID = "11111111-1111-1111-1111-111111111111"
OTHER = "22222222-2222-2222-2222-222222222222"


WAITING_9, WAITING_10 = State("waiting", UUID, 9), State("waiting", UUID, 10)
ANSWERS = [
    None,
    State("unknown", why="?"),
    State("empty"),
    State("waiting", "", -1),
    WAITING_9,
    WAITING_10,
    State("waiting", OTHER, 99),
    State("stopped", UUID, 10),
    State("nonprimary", UUID, 9, 1),
    State("nonprimary", UUID, 10, 1),
    State("nonprimary", UUID, 10, 2),
    State("primary", UUID, 10, 2),
]


def deciding(states: dict[str, Any], forgotten: dict[str, set[str]] | None = None) -> dict[str, Any]:
    """What each member decides that decides at all: those about to start, and those without a majority."""
    forgotten = forgotten or {}
    return {
        name: decide(name, MEMBERS, states, forgotten.get(name, ()))
        for name, state in states.items()
        if state is not None and state.state in ("empty", "unknown", "waiting", "nonprimary")
    }


@pytest.mark.parametrize("lost", [{}, {"a": {"b"}}, {"a": {"b", "c"}}, {"a": {"b"}, "c": {"b"}}])
def test_no_two_begin_a_cluster_and_nobody_who_knows_less(lost: dict[str, set[str]]) -> None:
    for answers in itertools.product(ANSWERS, repeat=3):
        states = dict(zip(MEMBERS, answers, strict=True))
        begins = [name for name, each in deciding(states, lost).items() if each.verb == "bootstrap"]
        assert len(begins) < 2, states
        for name in begins:
            known = [each for each in answers if each is not None]
            assert all(each.state != "primary" for each in known), states
            own = states[name]
            assert own is not None
            assert max(each.seqno for each in known) == own.seqno, states
            silent = {one for one, each in states.items() if each is None or each.state == "unknown"}
            assert silent <= lost.get(name, set()), states


@pytest.mark.parametrize(
    ("states", "begins"),
    [
        pytest.param([State("empty")] * 3, "a", id="new"),
        pytest.param([WAITING_10] * 3, "a", id="all lost their power"),
        pytest.param([WAITING_9, WAITING_10, WAITING_9], "b", id="one knows more"),
        pytest.param([State("empty"), WAITING_9, WAITING_9], "b", id="one was made anew"),
        pytest.param([WAITING_10, WAITING_10, State("nonprimary", UUID, 10, 1)], "c", id="one runs"),
        pytest.param([WAITING_10, WAITING_10, State("nonprimary", UUID, 9, 1)], "a", id="one runs, behind"),
        pytest.param([State("waiting", "", -1), State("empty"), State("empty")], "a", id="never began"),
        pytest.param([WAITING_9, State("stopped", UUID, 10), WAITING_9], None, id="the best is stopped"),
        pytest.param([WAITING_9, None, WAITING_9], None, id="one is silent"),
        pytest.param([WAITING_9, State("unknown"), WAITING_9], None, id="one cannot tell"),
        pytest.param([WAITING_9, State("waiting", OTHER, 10), WAITING_9], None, id="two clusters"),
    ],
)
def test_who_begins(states: list[Any], begins: str | None) -> None:
    verbs = {name: each.verb for name, each in deciding(dict(zip(MEMBERS, states, strict=True))).items()}
    assert [name for name, verb in verbs.items() if verb == "bootstrap"] == ([begins] if begins else [])
    assert set(verbs.values()) <= {"bootstrap", "wait"}


def test_a_member_joins_whoever_is_at_work_and_brings_no_other_data() -> None:
    primary = State("primary", UUID, 12, 1)
    for mine in (State("empty"), State("unknown"), WAITING_9):
        assert decide("a", MEMBERS, {"a": mine, "b": None, "c": primary}).verb == "join"
    for mine in (State("waiting", OTHER, 99), State("waiting", "", -1)):
        found = decide("a", MEMBERS, {"a": mine, "b": None, "c": primary})
        assert found.verb == "wait"
        assert UUID in found.reason


def test_who_waits_says_for_whom() -> None:
    found = decide("a", MEMBERS, {"a": WAITING_9, "b": None, "c": State("unknown", why="its disk is gone")})
    assert found.verb == "wait"
    assert "no answer from b" in found.reason
    assert "c: its disk is gone" in found.reason


def test_running_members_that_do_not_see_each_other_wait() -> None:
    apart = State("nonprimary", UUID, 10, 1)
    assert decide("a", MEMBERS, {"a": apart, "b": apart, "c": WAITING_10}).verb == "wait"
    together = State("nonprimary", UUID, 10, 2)
    assert decide("a", MEMBERS, {"a": together, "b": together, "c": WAITING_10}).verb == "bootstrap"


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for folder in ("etc/mysql/jarvis", "run/jarvis-database", "var/lib/jarvis-database", "var/lib/mariadb"):
        (tmp_path / folder).mkdir(parents=True)
    told = {"name": "a", "members": {"a": "192.0.2.1", "b": "192.0.2.2"}, "data": "/var/lib/mariadb"}
    (tmp_path / "etc/mysql/jarvis/member.json").write_text(json.dumps(told))
    program.load({"JARVIS_ROOT": str(tmp_path)})
    return program


def grastate(member: ModuleType, uuid: str, seqno: int) -> None:
    text = f"# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   {seqno}\nsafe_to_bootstrap: 0\n"
    (member.DATA / "grastate.dat").write_text(text)
    (member.DATA / "ibdata1").touch()


def test_a_folder_without_data_is_empty(member: ModuleType) -> None:
    assert member.on_disk().state == "empty"
    (member.DATA / "ibdata1").touch()
    (member.DATA / ".jarvis-initialising").touch()
    assert member.on_disk().state == "empty"


def test_data_that_another_member_was_overwriting_is_none(member: ModuleType) -> None:
    grastate(member, UUID, -1)
    member.MEMBER.touch()
    (member.DATA / "sst_in_progress").touch()
    assert member.on_disk().state == "empty"


def test_a_member_whose_data_has_gone_is_not_taken_for_a_new_one(member: ModuleType) -> None:
    member.MEMBER.touch()
    found = member.on_disk()
    assert found.state == "unknown"
    assert "is its disk there" in found.why


def test_an_end_in_order_tells_the_position(member: ModuleType) -> None:
    grastate(member, UUID, 17)
    assert (member.on_disk().state, member.on_disk().seqno) == ("stopped", 17)
    assert (member.recovered().state, member.recovered().seqno) == ("waiting", 17)


def test_after_a_loss_of_power_innodb_tells_the_position(
    member: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grastate(member, UUID, -1)
    assert member.on_disk().state == "unknown"
    said: list[str] = []

    def recovery(words: list[str], **_: Any) -> Any:
        log = next(word for word in words if word.startswith("--log-error="))
        Path(log.partition("=")[2]).write_text("\n".join(said) + "\n")
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr(member.subprocess, "run", recovery)
    said = [f"[Note] WSREP: Recovered position: {UUID}:42"]
    assert (member.recovered().state, member.recovered().uuid, member.recovered().seqno) == (
        "waiting",
        UUID,
        42,
    )
    said = ["[ERROR] InnoDB: the log is damaged"]
    found = member.recovered()
    assert found.state == "unknown"
    assert "the log is damaged" in found.why


def test_what_is_written_down_holds_as_long_as_it_is_held(member: ModuleType) -> None:
    member.POSITION.write_text(json.dumps(member.asdict(WAITING_9)))
    assert member.written() is None
    with member.POSITION.open() as held:
        member.fcntl.flock(held, member.fcntl.LOCK_EX)
        assert member.written() == State("waiting", UUID, 9)


def test_files_of_somebody_else_are_not_taken_for_an_empty_folder(member: ModuleType) -> None:
    assert member.stranger() == ""
    (member.DATA / "grastate.dat").touch()
    assert member.stranger() == ""
    (member.DATA / "photos").mkdir()
    assert member.stranger() == "photos"


def test_a_database_of_before_is_found(member: ModuleType) -> None:
    (member.FORMER / "mysql").mkdir(parents=True)
    assert member.former() == ""
    (member.FORMER / "keystone").mkdir()
    assert member.former() == "keystone"


def test_a_new_database_is_never_half_of_one(
    member: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member.shutil, "chown", lambda *_: None)
    commands = Commands(tmp_path / "bin")
    commands.add("sync")
    commands.add("mariadb-install-db", f'touch "{member.DATA}/ibdata1"; exit 1')
    monkeypatch.setenv("PATH", f"{commands.folder}:/usr/bin:/bin")
    with pytest.raises(SystemExit):
        member.initialise()
    assert member.on_disk().state == "empty"
    commands.add("mariadb-install-db", f'touch "{member.DATA}/ibdata1"')
    member.initialise()
    assert {path.name for path in member.DATA.iterdir()} == {"ibdata1"}


def test_mariadb_that_galera_has_given_up_is_ended(
    member: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[int, int]] = []
    now = [0.0]
    monkeypatch.setattr(member.os, "kill", lambda pid, number: ended.append((pid, number)))
    monkeypatch.setattr(member.time, "monotonic", lambda: now[0])
    member.PID.parent.mkdir(parents=True)
    member.PID.write_text("4711\n")
    observer = member.Observer()
    for now[0], status in (
        (1.0, "Disconnected"),
        (4.0, "Primary"),
        (5.0, "Disconnected"),
        (8.0, "Disconnected"),
    ):
        observer._cut_off({"wsrep_cluster_status": status})
    assert ended == []
    now[0] = 20.0
    observer._cut_off({"wsrep_cluster_status": "Disconnected"})
    assert ended == [(4711, member.signal.SIGKILL)]


def test_a_member_that_the_others_do_not_take_in_is_started_again(
    member: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Galera left one after "Receiving IST failed, node restart required"."""
    ended: list[tuple[int, int]] = []
    now = [0.0]
    others: dict[str, State | None] = {name: State("primary", UUID, 10, 2) for name in ("b", "c")}
    monkeypatch.setattr(member.os, "kill", lambda pid, number: ended.append((pid, number)))
    monkeypatch.setattr(member.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(member, "ask_others", lambda: dict(others))
    member.PID.parent.mkdir(parents=True)
    member.PID.write_text("4711\n")
    observer = member.Observer()
    said = {
        "wsrep_cluster_status": "non-Primary",
        "wsrep_cluster_state_uuid": UUID,
        "wsrep_last_committed": "9",
        "wsrep_cluster_size": "2",
    }

    def until(moment: float) -> None:
        while now[0] < moment:
            now[0] += 1.0
            observer._without_majority(said)

    # Cut off from the others, for however long, it waits; and it has its time once they are heard again.
    others |= {"b": None, "c": None}
    until(100.0)
    others |= {"b": State("primary", UUID, 10, 2)}
    until(114.0)
    observer._without_majority({**said, "wsrep_cluster_status": "Primary"})
    until(114.0 + member.SETTLED + member.LEFT_OUT)
    assert ended == []
    until(115.0 + member.SETTLED + member.LEFT_OUT + 1.0)
    assert ended == [(4711, member.signal.SIGKILL)]


SOUND = {
    "wsrep_cluster_status": "Primary",
    "wsrep_local_state_comment": "Synced",
    "wsrep_ready": "ON",
    "read_only": "OFF",
    "Uptime": "100",
}


def test_a_late_answer_of_mariadb_is_no_loss_of_the_member(
    member: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine whose processors are busy: the longest answer, a pause, and the longest one again."""
    now = [100.0]
    monkeypatch.setattr(member.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(member.socket, "create_connection", lambda *_, **__: io.BytesIO())
    observer = member.Observer()
    observer._note(SOUND)
    now[0] += member.PAUSE + member.ANSWER
    assert observer.problem() == ""
    observer._note(SOUND)
    now[0] += member.FRESH
    # One that hangs is.
    observer._note({})
    assert observer.problem() == "MariaDB does not answer"


def test_a_moment_without_the_majority_ends_no_session(
    member: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(member.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(member.socket, "create_connection", lambda *_, **__: io.BytesIO())
    observer = member.Observer()

    def problem(**changed: str) -> str:
        observer._note({**SOUND, **changed})
        return str(observer.problem())

    # Nobody has ever heard that it is well: there is no moment to wait for.
    assert "majority" in problem(wsrep_cluster_status="non-Primary")
    assert problem(wsrep_cluster_status="Primary") == ""
    now[0] += member.RIPPLE
    assert problem(wsrep_cluster_status="non-Primary", wsrep_ready="OFF") == ""
    now[0] += 0.1
    assert "majority" in problem(wsrep_cluster_status="non-Primary", wsrep_ready="OFF")
    assert problem(wsrep_ready="ON") == ""
    # A MariaDB that began in between is another one.
    joining = "Joining: receiving State Transfer"
    assert "Joining" in problem(wsrep_local_state_comment=joining, Uptime="1")


def test_a_member_on_a_lost_server_is_not_waited_for_and_not_unlearned(
    member: ModuleType, tmp_path: Path
) -> None:
    assert member.forgotten() == set()
    member.forget("b")
    (tmp_path / "var/lib/jarvis").mkdir()
    (tmp_path / "var/lib/jarvis/lost").write_text("c\n")
    assert member.forgotten() == {"b", "c"}
    (member.KEPT / "member").touch()
    # At work again, what was given up by hand is; what the configuration says stays.
    member.Observer()._synced()
    assert member.forgotten() == {"c"}
