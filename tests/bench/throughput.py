"""How many requests a second the cloud answers to several clients at once."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any

from tests.faults.client import Gateway, Refused, User
from tests.lab.deployment import Cloud

CLIENTS = 8
# Of each question. A token by password takes a third of a second of a core, so that there are some dozens.
SECONDS = 20.0
# A client waits for the others: 8 tokens by password are 1.3 s of two cores, which have other work.
PATIENCE_SECONDS = 60.0


class _Patient(Gateway):
    """The gateway, for clients that are to wait for each other."""

    def ask(self, method: str, url: str, expected: int, **given: Any) -> tuple[Message, bytes]:
        return super().ask(method, url, expected, **{**given, "patience": PATIENCE_SECONDS})


def under_load(
    ask: Callable[[], object], clients: int = CLIENTS, seconds: float = SECONDS
) -> dict[str, float]:
    """Answers a second, and the seconds that one takes, with so many clients that ask one question after the
    other for so many seconds, and once at least.

    Raises what ``ask`` raised first.
    """
    took: list[float] = []
    problems: list[Exception] = []
    began = time.monotonic()

    def client() -> None:
        while not problems:
            moment = time.monotonic()
            try:
                ask()
            except (OSError, Refused) as error:
                problems.append(error)
            took.append(time.monotonic() - moment)
            if time.monotonic() >= began + seconds:
                return

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    passed = time.monotonic() - began
    if problems:
        raise problems[0]
    return {
        "per_second": round(len(took) / passed, 1),
        "median_seconds": round(statistics.median(took), 3),
        "longest_seconds": round(max(took), 3),
    }


def throughput(cloud: Cloud, say: Callable[[str], None]) -> dict[str, Mapping[str, float]]:
    """By question: what ``under_load`` measures. The user who asks is removed at the end."""
    user = User(cloud.stack.workspace.clouds, _Patient(cloud.virtual_address, cloud.authority))
    try:
        found: dict[str, Mapping[str, float]] = {}
        for what, ask in (
            ("a token by password", user.issue),
            ("a validation of a token", user.validate),
            ("a list of images", user.list_images),
        ):
            # Not with what only the first answer costs.
            ask()
            found[what] = under_load(ask)
            say(f"{what}, {CLIENTS} clients at once: {found[what]['per_second']} a second")
        return found
    finally:
        user.leave()
