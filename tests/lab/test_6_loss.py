"""Users go on while the service changes, and while servers and processes are lost; all heals by itself.

The faults are a few of ``make test-faults``, which tries all.
"""

from __future__ import annotations

import json
import threading
import time
from http import HTTPStatus
from typing import Any

from deployment import Cloud, turn, wait_until
from test_3_images import OPENSTACK, glance_pods
from tokens import TokenLoop
from uploads import Upload

from tests.faults.catalogue import faults
from tests.faults.catalogue.power_one import power_one
from tests.faults.fault import Fault, attempt, verdict
from tests.faults.report import line

# How many tokens are proof that they are issued again.
ENOUGH = 20
# More than there are pods.
UPLOADS = 4
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
    """Of an option, and of the passwords by which pods reach database and queue: those stay, since a counter
    never goes back."""
    stack = cloud.stack
    names = ("keystone-database", "keystone-queue")
    turn(stack, names)
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
    assert {label.split(" ")[1] for label in steps} >= {"keystone", *names}
    assert loop.problems() == []


def test_a_rolling_update_breaks_no_upload(cloud: Cloud) -> None:
    """Uploads that began before it and end after every pod has its successor."""
    stack = cloud.stack
    token = json.loads(cloud.tool(*OPENSTACK, "token", "issue", "-f", "json").stdout)["id"]
    before = {pod["metadata"]["name"] for pod in glance_pods(cloud)}
    end = threading.Event()
    uploads = [Upload(cloud, token, end) for _ in range(UPLOADS)]
    try:
        wait_until("uploads are under way", lambda: all(one.sent > 0 for one in uploads), 3 * MINUTES)
        stack.configure(stack.changed(openstack={"glance": {"options": {"DEFAULT.image_size_cap": 1 << 40}}}))
        assert "kubernetes:apps/v1:Deployment glance" in stack.up().steps()
        pods = glance_pods(cloud)
        # Each old pod is on its way out, and has what it was sent.
        assert not before & {
            pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]
        }
        assert [one.problem for one in uploads if not one.under_way] == []
    finally:
        end.set()
        stack.configure(stack.environment)
    for upload in uploads:
        digest = upload.wait()
        assert (upload.status, upload.problem) == (HTTPStatus.NO_CONTENT, "")
        words = ("image", "show", upload.image, "-f", "json")
        shown = json.loads(cloud.tool(*OPENSTACK, *words).stdout)
        assert (shown["size"], shown["properties"]["os_hash_value"]) == (upload.sent, digest)
        cloud.tool(*OPENSTACK, "image", "delete", upload.image)
    cloud.stack.say(
        f"{UPLOADS} uploads of {sum(one.sent for one in uploads) >> 20} MiB under a rolling update"
    )
    wait_until(
        "the pods before are gone",
        lambda: not before & {pod["metadata"]["name"] for pod in glance_pods(cloud)},
        3 * MINUTES,
    )


def test_the_last_change_is_taken_back(cloud: Cloud) -> None:
    """The one of Glance; Keystone's was, as Glance's was made."""
    steps = cloud.stack.up().steps()
    assert {name for name in steps if name.startswith("kubernetes:apps/v1:Deployment")} == {
        "kubernetes:apps/v1:Deployment glance"
    }


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
