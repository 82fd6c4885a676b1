"""Every secret that can be made anew is, under load, and what it was before opens nothing any more.

``make test-rotations`` (each_counter.py) turns every counter by itself as well.
"""

from __future__ import annotations

import time

from credentials import current, forget_former, keep_former, probes
from deployment import Cloud, counters, turn, wait_until

from tests.faults.client import Gateway, User
from tests.faults.load import Load

MINUTES = 60


def test_every_counter_turned_together_twice_under_load(cloud: Cloud) -> None:
    """Twice, since of most the one before is accepted until the next rotation."""
    stack = cloud.stack
    former = current(cloud)
    keep_former(cloud)
    try:
        user = User(stack.workspace.clouds, Gateway(cloud.virtual_address, cloud.authority))
        for _ in range(2):
            turn(stack, counters(stack))
            with Load(user) as load:
                before = time.monotonic()
                wait_until("requests succeed", lambda since=before: load.steady(since), 5 * MINUTES)
                stack.up()
                user.come_back(stack.workspace.clouds, Gateway(cloud.virtual_address, cloud.authority))
                after = time.monotonic()
                wait_until("requests succeed again", lambda since=after: load.steady(since), 5 * MINUTES)
            for stream in load.streams:
                stack.say(f"rotation: {stream.kind}: {stream.summary()}")
            assert stack.run("preview", "--expect-no-changes").steps() == {}
        assert user.lost() == []
        user.leave()
        now = current(cloud)
        for name, accepted, still_accepted in probes(cloud, former, now):
            assert accepted(), f"{name}: the current one is refused"
            assert not still_accepted(), f"{name}: the one of two rotations ago is accepted"
    finally:
        forget_former(cloud)
