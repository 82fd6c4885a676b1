"""Every counter of ``rotations`` by itself, twice: the deployment ends well, and the cloud serves.

Takes long, so it is a target of its own: make test-rotations.
"""

from __future__ import annotations

import time

from deployment import Cloud, counters, turn, wait_until
from tokens import TokenLoop

MINUTES = 60


def test_every_counter_by_itself(cloud: Cloud) -> None:
    stack = cloud.stack
    for number, name in enumerate(names := counters(stack), start=1):
        for _ in range(2):
            turn(stack, [name])
            began = time.monotonic()
            with TokenLoop(stack.workspace.clouds, cloud.authority) as loop:
                run = stack.attempt("up", "--yes", "--skip-preview")
                refused = loop.problems()
            stack.say(
                f"[{number}/{len(names)}] {name}: {len(run.steps())} steps, {time.monotonic() - began:.0f} s,"
                f" {len(loop.answers)} requests, {len(refused)} refused"
            )
            assert run.status == 0, f"{name}: {run.output[-8000:]}"
            assert run.steps(), name
            with TokenLoop(stack.workspace.clouds, cloud.authority) as loop:
                wait_until(f"a token is issued after {name}", lambda: loop.tokens_since(0), 3 * MINUTES)
