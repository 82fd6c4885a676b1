"""Tokens are issued while the service changes, and while a server is gone; the server comes back."""

from __future__ import annotations

import json
import time

from deployment import Cloud, lab, wait_until
from tokens import TokenLoop

# How many tokens are proof that they are issued again.
ENOUGH = 20
# Limits of waiting on a busy machine, not measures.
MINUTES = 60


def record(cloud: Cloud, name: str, loop: TokenLoop) -> None:
    """Writes what was seen, for a person to read: never asserted."""
    found = {
        "tokens": loop.tokens_since(0),
        "refused": len(loop.problems()),
        "longest_gap_seconds": round(loop.longest_gap(), 2),
    }
    (cloud.stack.workspace.folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    cloud.stack.say(f"{name}: {found}")


def test_a_rolling_update_drops_no_request(cloud: Cloud) -> None:
    stack = cloud.stack
    with TokenLoop(stack.workspace.clouds, cloud.authority) as loop:
        try:
            wait_until("tokens are issued", lambda: loop.tokens_since(0) >= ENOUGH, 3 * MINUTES)
            stack.configure(stack.changed(openstack={"keystone": {"options": {"token.expiration": 3000}}}))
            steps = stack.up().steps()
            changed = time.monotonic()
            wait_until("tokens go on", lambda: loop.tokens_since(changed) >= ENOUGH, 3 * MINUTES)
        finally:
            stack.configure(stack.environment)
    record(cloud, "rolling-update", loop)
    assert "kubernetes:apps/v1:Deployment keystone" in steps
    assert loop.problems() == []


def test_the_change_is_taken_back(cloud: Cloud) -> None:
    assert "kubernetes:apps/v1:Deployment keystone" in cloud.stack.up().steps()


def test_losing_a_server_stops_neither_tokens_nor_the_api(cloud: Cloud) -> None:
    """The one that has the virtual address, except for the database's: that is on one server until the
    database is made to survive the loss of one."""
    database = cloud.servers[-1]
    if cloud.holder() == database:
        cloud.ssh(database, "systemctl restart jarvis-virtual-address.service")
        wait_until("another has the address", lambda: cloud.holder() not in (None, database), 2 * MINUTES)
    lost = cloud.holder()
    assert lost is not None
    left = next(server for server in cloud.servers if server != lost)
    with TokenLoop(cloud.stack.workspace.clouds, cloud.authority) as loop:
        wait_until("tokens are issued", lambda: loop.tokens_since(0) >= ENOUGH, 3 * MINUTES)
        lab("power-off", lost)
        gone = time.monotonic()
        wait_until("another has the address", lambda: cloud.holder() not in (None, lost), 3 * MINUTES)
        wait_until("tokens go on", lambda: loop.tokens_since(gone) >= ENOUGH, 5 * MINUTES)
        assert len(cloud.healthy_members(left)) == 2
        wait_until("the loss is seen", lambda: len(cloud.ready_nodes()) == 2, 5 * MINUTES)
        steady = time.monotonic()
        wait_until("tokens still go on", lambda: loop.tokens_since(steady) >= ENOUGH, 5 * MINUTES)
        lab("power-on", lost)
        back = time.monotonic()
        wait_until("all members are healthy", lambda: len(cloud.healthy_members(left)) == 3, 5 * MINUTES)
        wait_until("all nodes are ready", lambda: len(cloud.ready_nodes()) == 3, 5 * MINUTES)
        wait_until("tokens still go on", lambda: loop.tokens_since(back) >= ENOUGH, 5 * MINUTES)
    record(cloud, "lost-server", loop)


def test_a_server_that_came_back_is_as_before(cloud: Cloud) -> None:
    cloud.kubectl("rollout", "status", "deployment/keystone", "-n", "openstack", "--timeout=300s")
    for server in cloud.servers:
        assert len(cloud.healthy_members(server)) == 3
    command = "systemctl list-units --failed --plain --no-legend"
    wait_until("no unit has failed", lambda: not any(text for _, text in cloud.each(command)), 3 * MINUTES)
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
