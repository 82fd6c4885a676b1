"""rabbitmq.sh: who begins, joins, may be restarted. RabbitMQ's tools are fakes; the ports are real."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fakes import Commands

MAPPER = 4369


class Member:
    """The server under test is ``own``; the two others are addresses of this machine on which nothing listens
    at first. ``answers``: what RabbitMQ evaluates to, by server."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.data = folder / "var/lib/rabbitmq"
        self.data.mkdir(parents=True)
        (self.data / "mnesia").mkdir()
        sent = folder / "var/lib/jarvis/queue/cookie"
        sent.parent.mkdir(parents=True)
        sent.write_text("new-cookie\n")
        part = os.getpid() % 65025
        self.others = [f"127.{1 + part // 255}.{1 + part % 255}.{n}" for n in (2, 3)]
        self.commands = Commands(folder / "bin")
        self.commands.say("hostname", "own")
        self.commands.add("chown")
        self.commands.add("install", 'for each; do case $each in /*) mkdir -p "$each" ;; esac; done')
        self.commands.add("sync")
        self.commands.say("systemctl", "")
        self.commands.say("rabbitmq-queues", "")
        self.commands.say("epmd", "")
        self.commands.say("rabbitmq-diagnostics", "")
        self.answers = folder / "answers"
        self.answers.mkdir()
        self.commands.add(
            "rabbitmqctl",
            f"""
            node=own verb=
            while [ $# -gt 0 ]; do
              case $1 in --node) node=${{2#rabbit@}}; shift ;; --quiet) ;; *) verb=${{verb:-$1}} ;; esac
              shift
            done
            [ "$verb" = eval ] || exit 0
            cat "{self.answers}/$node" 2>/dev/null || {{ echo "unable to connect to node"; exit 69; }}
            """,
        )
        self.sockets: list[socket.socket] = []

    def listen(self, address: str) -> None:
        """The role is on the server at ``address``."""
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, MAPPER))
        one.listen()
        self.sockets.append(one)

    def answer(self, server: str, text: str) -> None:
        (self.answers / server).write_text(text)

    @property
    def formation(self) -> str | None:
        file = self.data / "formation/10-formation.conf"
        return file.read_text() if file.exists() else None

    def run(self, *words: str, patience: int = 1) -> subprocess.CompletedProcess[str]:
        return self.commands.run(
            "rabbitmq/rabbitmq.sh", *words, root=self.root, JARVIS_PATIENCE=str(patience)
        )

    def prepare(self, first: str) -> subprocess.CompletedProcess[str]:
        return self.run("prepare", first, ",".join(self.others))


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    member = Member(tmp_path)
    yield member
    for one in member.sockets:
        one.close()


def test_the_first_begins_where_nobody_has_the_role(member: Member) -> None:
    assert member.prepare("yes").returncode == 0
    assert "nodes" not in str(member.formation)
    assert member.formation is not None


def test_another_never_begins(member: Member) -> None:
    done = member.prepare("no")
    assert done.returncode == 1
    assert "no member that own could join" in done.stderr
    assert member.formation is None


@pytest.mark.parametrize("first", ["yes", "no"])
def test_who_has_no_data_joins_wherever_the_role_is(member: Member, first: str) -> None:
    """RabbitMQ there may be down at the moment: the port mapper is systemd's."""
    member.listen(member.others[1])
    assert member.prepare(first).returncode == 0
    nodes = [line.split(" = ")[1] for line in str(member.formation).splitlines() if ".nodes." in line]
    assert nodes == ["rabbit@own", *(f"rabbit@{other}" for other in member.others)]


def test_silence_of_another_server_begins_nothing(member: Member) -> None:
    member.commands.add("timeout", 'case "$*" in *dev/tcp*) exit 124 ;; esac; shift; exec "$@"')
    done = member.prepare("yes")
    assert done.returncode == 1
    assert f"no answer from {member.others[1]}" in done.stderr
    assert member.formation is None


def test_a_member_is_never_told_again(member: Member) -> None:
    (member.data / ".jarvis-member").touch()
    assert member.prepare("yes").returncode == 0
    assert member.formation is None


def test_data_of_another_is_not_touched(member: Member) -> None:
    stranger = member.data / "mnesia/rabbit@old"
    stranger.mkdir()
    done = member.prepare("yes")
    assert done.returncode == 1
    assert str(stranger) in done.stderr
    assert stranger.exists()
    assert member.formation is None


def test_who_was_told_nothing_does_nothing(member: Member) -> None:
    """As after a disk was emptied: no cluster of its own, however often it is started."""
    done = member.run("begin")
    assert done.returncode == 1
    assert "pulumi up" in done.stderr


def test_a_start_that_was_cut_short_is_begun_again(member: Member) -> None:
    member.prepare("yes")
    half = member.data / "mnesia/rabbit@own"
    half.mkdir()
    assert member.run("begin").returncode == 0
    assert not half.exists()
    half.mkdir()
    assert member.run("begun").returncode == 0
    assert member.formation is None
    assert member.run("begin").returncode == 0
    assert half.exists()


def test_a_member_whose_data_is_gone_is_forgotten_before_it_joins(member: Member) -> None:
    member.listen(member.others[0])
    member.prepare("yes")
    member.answer(member.others[1], "{known,true}\n")
    assert member.run("begin").returncode == 0
    assert f"rabbitmqctl --quiet --node rabbit@{member.others[1]} forget_cluster_node rabbit@own" in (
        member.commands.calls("rabbitmqctl")
    )


def test_a_new_member_waits_for_one_that_serves(member: Member) -> None:
    member.listen(member.others[0])
    member.prepare("no")
    member.answer(member.others[0], "false\n")
    # The wait is where the other one begins to serve.
    member.commands.add("sleep", f'echo "{{known,false}}" >"{member.answers}/{member.others[0]}"')
    done = member.run("begin")
    assert done.returncode == 0
    assert "waiting for a member" in done.stderr
    assert not any("forget" in call for call in member.commands.calls("rabbitmqctl"))


def test_a_member_may_be_restarted_when_all_run_and_no_queue_needs_it(member: Member) -> None:
    member.answer("own", "{missing,[]}\n")
    assert member.run("gate").returncode == 0
    member.commands.say("rabbitmq-diagnostics", "q1 would lose quorum\n", 69)
    done = member.run("gate")
    assert (done.returncode, "q1 would lose quorum" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("{missing,['rabbit@s2']}\n", "not running: rabbit@s2"), (None, "does not answer")],
)
def test_a_member_is_not_restarted_otherwise(member: Member, answer: str | None, reason: str) -> None:
    if answer is not None:
        member.answer("own", answer)
    done = member.run("gate")
    assert done.returncode == 1
    assert reason in done.stderr


def test_a_member_that_paused_or_is_down_may_be_started(member: Member) -> None:
    member.answer("own", "not_running\n")
    assert member.run("gate").returncode == 0
    member.commands.say("systemctl", "", 3)
    (member.answers / "own").unlink()
    assert member.run("gate").returncode == 0


def test_who_is_not_configured_any_more_is_removed(member: Member) -> None:
    member.answer("own", f"{{missing,['rabbit@gone','rabbit@{member.others[0]}']}}\n")
    assert member.run("settle", ",".join(member.others)).returncode == 0
    forgotten = [call for call in member.commands.calls("rabbitmqctl") if "forget" in call]
    assert [call.split()[-1] for call in forgotten] == ["rabbit@gone"]
    assert any("grow rabbit@own all" in call for call in member.commands.calls("rabbitmq-queues"))


def test_a_member_that_does_not_serve_is_told_of(member: Member) -> None:
    member.answer("own", "not_running\n")
    done = member.run("settle", "-")
    assert done.returncode == 1
    assert "journalctl --unit rabbitmq-server" in done.stderr


def test_a_port_mapper_that_is_not_systemds_is_ended(member: Member) -> None:
    member.prepare("yes")
    assert member.commands.calls("epmd") == []
    member.commands.say("systemctl", "", 3)
    member.prepare("yes")
    assert member.commands.calls("epmd") == ["epmd -kill"]


def test_the_cookie_is_taken_without_a_restart_and_once(member: Member) -> None:
    (member.data / ".jarvis-member").touch()
    (member.data / ".erlang.cookie").write_text("old-cookie")
    for _ in range(2):
        done = member.run("cookie")
        assert done.returncode == 0, done.stderr
        assert "new-cookie" not in done.stderr
    assert (member.data / ".erlang.cookie").read_text() == "new-cookie"
    assert (member.data / ".erlang.cookie").stat().st_mode & 0o777 == 0o400
    told = member.commands.calls("rabbitmqctl")
    assert len(told) == 1
    assert "new-cookie" not in told[0]
    assert {path.name for path in member.data.iterdir()} == {"mnesia", ".jarvis-member", ".erlang.cookie"}
