"""etcd.sh: who begins, who joins, who may be restarted. etcdctl is a fake; the ports are real."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fakes import Commands

HERE = Path(__file__).parent
PEERS = [f"https://192.0.2.1{n}:2380" for n in (1, 2, 3)]


class Cluster:
    """Three configured members a, b and c, of which none runs at first; the server under test is b."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.state = folder / "cluster.json"
        self.commands = Commands(folder / "bin")
        self.commands.add("etcdctl", f'exec {sys.executable} {HERE / "fake_etcdctl.py"} "$@"')
        self.commands.say("systemctl", "")
        self.sockets = [socket.socket() for _ in range(3)]
        for one in self.sockets:
            one.bind(("127.0.0.1", 0))  # a port that nobody else takes; it is not listened on yet
        self.clients = [f"https://127.0.0.1:{one.getsockname()[1]}" for one in self.sockets]
        (self.root / "etc/etcd").mkdir(parents=True)
        (self.root / "etc/etcd/etcdctl.env").write_text(f"ETCDCTL_ENDPOINTS={self.clients[1]}\n")
        self.set(members=[])

    def set(self, **values: Any) -> None:
        state = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps(state | values))

    def get(self, field: str) -> Any:
        return json.loads(self.state.read_text()).get(field, [])

    def running(self, *which: int, learner: int | None = None) -> None:
        """Members ``which`` are in the cluster and serve."""
        self.set(members=[self.member(n, learner=n == learner) for n in which])
        for n in which:
            self.sockets[n].listen()

    def member(self, n: int, **changes: Any) -> dict[str, Any]:
        values = {"id": f"id-{'abc'[n]}", "name": "abc"[n], "peer": PEERS[n], "client": self.clients[n]}
        return values | {"learner": False} | changes

    def run(self, *words: str, patience: int = 1) -> subprocess.CompletedProcess[str]:
        return self.commands.run(
            "etcd.sh", *words, root=self.root, FAKE_ETCD=str(self.state), JARVIS_PATIENCE=str(patience)
        )

    def join(self, *, first: str = "no", patience: int = 1) -> subprocess.CompletedProcess[str]:
        others = ",".join([self.clients[0], self.clients[2]])
        return self.run("join", "b", PEERS[1], first, others, patience=patience)

    def settle(self, patience: int = 1) -> subprocess.CompletedProcess[str]:
        return self.run("settle", "b", f"{self.clients[0]},{self.clients[2]}", patience=patience)

    @property
    def decision(self) -> dict[str, str]:
        """What etcd is told at its first start."""
        file = self.root / "etc/etcd/join.env"
        return dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    for one in made.sockets:
        one.close()


def test_the_first_begins_where_nobody_listens(cluster: Cluster) -> None:
    assert cluster.join(first="yes").returncode == 0
    assert cluster.decision == {
        "ETCD_INITIAL_CLUSTER": f"b={PEERS[1]}",
        "ETCD_INITIAL_CLUSTER_STATE": "new",
    }


def test_only_the_first_begins(cluster: Cluster) -> None:
    run = cluster.join()
    assert run.returncode == 1
    assert "no member is running that b could join" in run.stderr
    assert cluster.decision == {}


def test_silence_of_another_server_begins_nothing(cluster: Cluster) -> None:
    """Its port is open and nothing answers: there may be a cluster. Two would be worse than none."""
    cluster.sockets[0].listen()
    run = cluster.join(first="yes")
    assert run.returncode == 1
    assert f"no answer from {cluster.clients[0]}" in run.stderr
    assert "context deadline exceeded" in run.stderr
    assert cluster.decision == {}


def test_one_without_data_is_added_as_a_learner(cluster: Cluster) -> None:
    cluster.running(0, 2)
    assert cluster.join().returncode == 0
    assert cluster.get("members")[-1] == {
        "id": "new",
        "name": "",
        "peer": PEERS[1],
        "client": "",
        "learner": True,
    }
    assert cluster.decision == {
        "ETCD_INITIAL_CLUSTER": f"a={PEERS[0]},c={PEERS[2]},b={PEERS[1]}",
        "ETCD_INITIAL_CLUSTER_STATE": "existing",
    }


def test_the_first_joins_too_where_there_is_a_cluster(cluster: Cluster) -> None:
    cluster.running(2)
    assert cluster.join(first="yes").returncode == 0
    assert cluster.decision["ETCD_INITIAL_CLUSTER_STATE"] == "existing"


def test_an_addition_that_was_interrupted_is_not_done_twice(cluster: Cluster) -> None:
    cluster.running(0)
    cluster.set(members=[cluster.member(0), cluster.member(1, name="", client="", learner=True)])
    assert cluster.join().returncode == 0
    assert [call for call in cluster.get("calls") if call.startswith("member add")] == []
    assert cluster.decision["ETCD_INITIAL_CLUSTER"] == f"a={PEERS[0]},b={PEERS[1]}"


def test_a_member_whose_data_is_gone_is_replaced(cluster: Cluster) -> None:
    cluster.running(0, 2)
    cluster.set(members=[cluster.member(n) for n in range(3)], down=[cluster.clients[1]])
    assert cluster.join().returncode == 0
    changes = [call for call in cluster.get("calls") if call.split()[1] in ("add", "remove")]
    assert changes == ["member remove id-b", "member add b"]
    assert [(m["id"], m["learner"]) for m in cluster.get("members")] == [
        ("id-a", False),
        ("id-c", False),
        ("new", True),
    ]


def test_an_addition_waits_for_the_learner_before(cluster: Cluster) -> None:
    cluster.running(0)
    cluster.set(refuse={"member add": ["Error: etcdserver: too many learner members in cluster"]})
    assert cluster.join(patience=20).returncode == 0
    assert cluster.get("members")[-1]["peer"] == PEERS[1]


def test_an_addition_that_is_refused_for_good_is_told(cluster: Cluster) -> None:
    cluster.running(0)
    cluster.set(refuse={"member add": ["Error: permission denied"] * 9})
    run = cluster.join()
    assert run.returncode == 1
    assert "cannot add b to the cluster: Error: permission denied" in run.stderr


def test_whoever_has_data_simply_starts(cluster: Cluster) -> None:
    (cluster.root / "var/lib/etcd/member/wal").mkdir(parents=True)
    cluster.running(0, 2)
    assert cluster.join().returncode == 0
    assert cluster.decision == {}
    assert cluster.get("calls") == []


def test_a_learner_that_has_caught_up_becomes_a_member(cluster: Cluster) -> None:
    cluster.running(0, 1, learner=1)
    not_yet = "Error: etcdserver: can only promote a learner member which is in sync with leader"
    cluster.set(refuse={"member promote": [not_yet]})
    assert cluster.settle(patience=20).returncode == 0
    assert [m["learner"] for m in cluster.get("members")] == [False, False]


def test_a_member_that_stays_ill_is_told(cluster: Cluster) -> None:
    cluster.running(0, 1)
    cluster.set(refuse={"endpoint health": ["Error: unhealthy cluster"] * 99})
    run = cluster.settle()
    assert run.returncode == 1
    assert "b is not healthy after 1s: Error: unhealthy cluster" in run.stderr


def test_a_restart_is_fine_while_all_others_are_healthy(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    assert cluster.run("gate").returncode == 0
    assert cluster.get("calls") == ["member list", "endpoint health", "endpoint health"]


def test_a_restart_is_refused_while_another_is_ill(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    cluster.set(down=[cluster.clients[2]])
    run = cluster.run("gate")
    assert run.returncode == 1
    assert f"the member at {cluster.clients[2]} is not healthy" in run.stderr


def test_an_election_is_waited_for(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    cluster.set(refuse={"member list": ["Error: etcdserver: leader changed"]})
    assert cluster.run("gate", patience=40).returncode == 0


def test_a_learner_among_the_others_does_not_count(cluster: Cluster) -> None:
    cluster.running(0, 1, 2, learner=2)
    cluster.set(down=[cluster.clients[2]])
    assert cluster.run("gate").returncode == 0


def test_a_member_that_does_not_run_may_be_started(cluster: Cluster) -> None:
    cluster.commands.say("systemctl", "", 3)
    assert cluster.run("gate").returncode == 0
    assert cluster.get("calls") == []


def test_a_member_that_does_not_answer_is_not_restarted(cluster: Cluster) -> None:
    run = cluster.run("gate")
    assert run.returncode == 1
    assert "it is not known whether the cluster can spare it" in run.stderr


def test_leaving_takes_the_member_out(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    cluster.set(refuse={"member remove": ["Error: etcdserver: unhealthy cluster"]})
    assert cluster.run("leave", patience=60).returncode == 0
    assert [m["name"] for m in cluster.get("members")] == ["a", "c"]


def test_the_last_member_just_stops(cluster: Cluster) -> None:
    cluster.running(1)
    assert cluster.run("leave").returncode == 0
    assert cluster.get("calls") == ["member list"]


@pytest.mark.parametrize(
    ("size", "used", "done"),
    [(50 << 20, 1, False), (200 << 20, 150 << 20, False), (200 << 20, 50 << 20, True)],
)
def test_space_is_given_back_when_it_is_worth_it(cluster: Cluster, size: int, used: int, done: bool) -> None:
    cluster.running(0, 1, 2)
    cluster.set(size=size, used=used)
    assert cluster.run("defrag").returncode == 0
    assert ("defrag" in cluster.get("calls")) is done


def test_space_is_not_given_back_while_another_is_ill(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    cluster.set(size=200 << 20, used=1, down=[cluster.clients[0]])
    assert cluster.run("defrag").returncode == 1
    assert "defrag" not in cluster.get("calls")
