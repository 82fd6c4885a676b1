"""Users go on while the service changes, and while servers and processes are lost; all heals by itself.

The faults are a few of ``make test-faults``, which tries all.
"""

from __future__ import annotations

import json
import time
from typing import Any

from deployment import Cloud, wait_until
from tokens import TokenLoop

from tests.faults.catalogue import faults
from tests.faults.catalogue.power_one import power_one
from tests.faults.fault import Fault, attempt, verdict
from tests.faults.report import line

# How many tokens are proof that they are issued again.
ENOUGH = 20
# Limits of waiting on a busy machine, not measures.
MINUTES = 60


def record(cloud: Cloud, name: str, found: dict[str, Any]) -> None:
    """Writes what was seen, for a person to read: never asserted."""
    (cloud.stack.workspace.folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")


def tried(cloud: Cloud, fault: Fault) -> str:
    """What went wrong with a fault under load."""
    row = attempt(cloud, fault)
    record(cloud, fault.name, row)
    cloud.stack.say(" | ".join(line(row)))
    return verdict(row)


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
    found = {
        "tokens": loop.tokens_since(0),
        "refused": len(loop.problems()),
        "longest_gap_seconds": round(loop.longest_gap(), 2),
    }
    record(cloud, "rolling-update", found)
    cloud.stack.say(f"rolling-update: {found}")
    assert "kubernetes:apps/v1:Deployment keystone" in steps
    assert loop.problems() == []


def test_the_change_is_taken_back(cloud: Cloud) -> None:
    assert "kubernetes:apps/v1:Deployment keystone" in cloud.stack.up().steps()


def test_the_loss_of_a_server_stops_nobody_and_loses_nothing(cloud: Cloud) -> None:
    """The one that has the virtual address, and is the database's writer as often as not."""
    lost = cloud.holder()
    assert lost is not None
    assert tried(cloud, power_one(lost, "the virtual address")) == ""


def test_the_loss_of_a_database_process_loses_nothing(cloud: Cloud) -> None:
    assert tried(cloud, next(each for each in faults(cloud) if each.name == "kill-mariadb")) == ""


def test_servers_are_as_before(cloud: Cloud) -> None:
    for server in cloud.servers:
        assert len(cloud.healthy_members(server)) == 3
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
