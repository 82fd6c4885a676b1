"""Requests of several clients at once: counted, and shown beside what is aimed at."""

from __future__ import annotations

import threading

import pytest

from tests.bench.report import throughput_rows
from tests.bench.throughput import under_load
from tests.faults.client import Refused


def test_all_clients_ask_at_once_and_each_answer_counts() -> None:
    together = threading.Barrier(4)
    answered: list[int] = []

    def ask() -> None:
        # Nobody gets an answer until all four have asked.
        together.wait(timeout=30)
        answered.append(1)

    found = under_load(ask, clients=4, seconds=0)
    assert len(answered) == 4
    assert found["per_second"] > 0
    assert found["median_seconds"] <= found["longest_seconds"]


def test_a_request_that_is_not_answered_is_an_error() -> None:
    def ask() -> None:
        raise Refused("status 503")

    with pytest.raises(Refused, match="503"):
        under_load(ask, clients=2, seconds=30)


def test_figures_stand_beside_what_was_aimed_at() -> None:
    figure = {"per_second": 3.14, "median_seconds": 2.5, "longest_seconds": 4.0}
    assert list(throughput_rows({"a token by password": figure, "a list of images": figure})) == [
        ("a token by password, 8 clients at once", "3.1 a second, 2.50 s each", "3 a second"),
        ("a list of images, 8 clients at once", "3.1 a second, 2.50 s each", ""),
    ]
