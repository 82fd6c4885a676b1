"""What the faults' load counts, and what the table says of it."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from tests.faults import load
from tests.faults.client import Refused, User
from tests.faults.fault import Fault, _noticed, verdict
from tests.faults.health import _of_nodes, _of_pods
from tests.faults.load import Stream
from tests.faults.report import aims, line, markdown


def nothing() -> None:
    """Sends nothing."""


def stream(*answers: tuple[float, float, str]) -> Stream:
    return Stream("token", 1.0, nothing, list(answers))


def row(**changes: Any) -> dict[str, Any]:
    summary = {"sent": 9, "failed": 2, "longest_gap_seconds": 4.0, "failures": {"status 503": 2}}
    return {
        "name": "power-a",
        "title": "power of a",
        "one_server": True,
        "without": True,
        "kinds": {"token": summary},
        "acknowledged": 7,
        "lost": [],
        "health_seconds": 50.0,
        "unwell": [],
        **changes,
    }


def test_the_longest_gap_is_while_somebody_asks_and_nobody_is_served() -> None:
    seen = stream((0, 1, ""), (2, 3, ""), (4, 5, "status 503"), (8, 9, ""), (10, 11, "")).summary()
    assert seen == {"sent": 5, "failed": 1, "longest_gap_seconds": 5, "failures": {"status 503": 1}}


def test_a_gap_begins_with_a_success_where_others_wait_already() -> None:
    assert stream((0, 1, ""), (0.5, 9, ""), (10, 11, "")).longest_gap() == 8


def test_a_gap_that_has_no_end_counts() -> None:
    assert stream((0, 1, ""), (2, 3, "reset"), (20, 25, "reset")).summary()["longest_gap_seconds"] == 23


def test_a_load_that_never_succeeded_is_one_gap() -> None:
    assert stream((0, 1, "reset"), (5, 6, "reset")).summary()["longest_gap_seconds"] == 6


@pytest.mark.parametrize("error", [OSError("gone"), TimeoutError(), Refused("status 503")])
def test_a_failed_request_is_counted_and_ends_nothing(error: Exception) -> None:
    def send() -> None:
        raise error

    seen = Stream("token", 1.0, send)
    seen.one()
    assert seen.summary()["failed"] == 1
    assert seen.good_since(0) == 0


def test_losses_and_what_does_not_heal_are_wrong_and_times_are_not() -> None:
    assert verdict(row(health_seconds=599.0)) == ""
    assert "1 of 7 acknowledged writes lost" in verdict(row(lost=["credential x"]))
    assert "not served" in verdict(row(without=False))
    assert verdict(row(without=None, one_server=False)) == ""
    assert "etcd" in verdict(row(health_seconds=None, unwell=["etcd: not all"]))


def test_the_aims_are_for_the_loss_of_one_server() -> None:
    assert aims(row()) == "gap met, health met"
    assert aims(row(health_seconds=121.0)) == "gap met, health missed"
    assert aims(row(one_server=False)) == ""
    assert line(row(health_seconds=None))[-2:] == ["never", "gap met, health missed"]


def test_each_row_of_the_table_has_its_cells() -> None:
    machine = {"system": "Debian", "kernel": "6", "cores": 2, "memory_mib": 1, "load": 1.0}
    text = markdown({"machine": machine, "date": "d", "commit": "c", "faults": [row()]})
    rows = [each for each in text.splitlines() if each.startswith("|")]
    assert len({each.count("|") for each in rows}) == 1
    assert "token: 2 x status 503" in text


def test_a_row_that_was_measured_before_says_where() -> None:
    machine = {"system": "Debian", "kernel": "6", "cores": 2, "memory_mib": 1, "load": 1.0}
    rows = [row(commit="new"), row(commit="old")]
    text = markdown({"machine": machine, "date": "d", "commit": "new", "faults": rows})
    assert "| power of a |" in text
    assert "| power of a (at old) |" in text


def test_a_node_is_ready_when_it_has_spoken_since() -> None:
    node = {"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    lease = {"metadata": {"name": "a"}, "spec": {"renewTime": "1970-01-01T00:01:40.000000Z"}}
    assert list(_of_nodes([node], [lease], 100, ["a"])) == []
    assert list(_of_nodes([node], [lease], 101, ["a"])) == ["the node a is not ready"]
    assert list(_of_nodes([node], [lease], 101, [])) == []


def test_a_container_from_before_the_power_went_is_not_running() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeName": "a"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"state": {"running": {"startedAt": "1970-01-01T00:01:40Z"}}}],
        },
    }
    assert list(_of_pods([pod], ["a"], 100)) == []
    assert list(_of_pods([pod], ["b"], 101)) == []
    assert list(_of_pods([pod], ["a"], 101)) == ["the pod p is not ready"]


class OneRefusal:
    """A user of a cloud without images, whose first request for a token is refused."""

    image_url = None

    def __init__(self) -> None:
        self.asked = 0

    def issue(self) -> None:
        self.asked += 1
        if self.asked == 1:
            raise Refused("status 503")

    def validate(self) -> None:
        """Is answered."""

    write = validate


def test_who_was_refused_asks_again_before_the_next_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PACES", dict.fromkeys(load.PACES, 3600.0))
    monkeypatch.setattr(load, "AGAIN_SECONDS", 0.01)
    user = OneRefusal()
    with load.Load(cast(User, user)) as running:
        tokens = running.streams[0]
        deadline = time.monotonic() + 60
        while len(tokens.answers) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert [problem for _, _, problem in tokens.answers] == ["status 503", ""]
    assert [len(stream.answers) for stream in running.streams[1:]] == [1, 1]


def test_who_gets_no_answer_has_noticed_nothing_yet() -> None:
    def nobody(_: object) -> bool:
        raise AssertionError("no route to host")

    def strike(_: object) -> None: ...

    fault = Fault(name="x", title="x", strike=strike, noticed=nobody)
    assert not _noticed(fault, cast(Any, None))
