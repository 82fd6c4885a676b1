"""The disk of an osd grows, is not taken for another one, and is replaced when it has failed."""

from __future__ import annotations

import json
from typing import Any

from deployment import Cloud, wait_until
from refusals import refused

MINUTES = 60
TOOL = "/var/lib/jarvis/bin/ceph-member"
DISK = "/var/lib/ceph/osd.img"
GIB = 2**30


def ceph(cloud: Cloud, *words: str) -> Any:
    return json.loads(cloud.ssh(cloud.servers[0], f"timeout 60 ceph {' '.join(words)} --format json"))


def healthy(cloud: Cloud) -> bool:
    return bool(ceph(cloud, "health")["status"] == "HEALTH_OK")


def ups(cloud: Cloud) -> list[int]:
    """Of each osd whether it is up, 1 or 0."""
    return [one["up"] for one in ceph(cloud, "osd", "dump")["osds"]]


def with_osd(cloud: Cloud, **osd: object) -> dict[str, Any]:
    """The environment with another disk for the osd of the last server."""
    servers = [dict(server) for server in cloud.stack.environment["servers"]]
    servers[-1]["osd"] = osd
    return {**cloud.stack.environment, "servers": servers}


def sizes(cloud: Cloud) -> list[int]:
    """The size of each osd's disk as Ceph knows it, in GiB, the smallest first."""
    return sorted(round(one["kb"] / 2**20) for one in ceph(cloud, "osd", "df")["nodes"])


def test_an_osd_grows_with_its_file(cloud: Cloud) -> None:
    assert sizes(cloud) == [8, 8, 8]
    cloud.stack.environment = with_osd(cloud, size_gib=9)
    cloud.stack.configure(cloud.stack.environment)
    cloud.stack.up()
    wait_until("Ceph knows", lambda: sizes(cloud) == [8, 8, 9], 2 * MINUTES)
    wait_until("HEALTH_OK", lambda: healthy(cloud), 5 * MINUTES)
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}


def test_neither_a_smaller_disk_nor_another_one_is_taken(cloud: Cloud) -> None:
    stack = cloud.stack
    try:
        for osd, words in (
            ({"size_gib": 8}, "no osd shrinks"),
            ({"path": "/var/lib/ceph/other.img", "size_gib": 9}, f"it is on {DISK}"),
        ):
            stack.configure(with_osd(cloud, **osd))
            assert [text for text in refused(stack).errors() if words in text], osd
    finally:
        stack.configure(stack.environment)
    stack.up()
    assert healthy(cloud)


def test_a_failed_disk_is_replaced(cloud: Cloud) -> None:
    last = cloud.servers[-1]
    before = cloud.ssh(last, "cat /var/lib/ceph/osd/jarvis/fsid")
    cloud.ssh(last, f"systemctl stop jarvis-ceph-osd; dd if=/dev/zero of={DISK} bs=1M count=64 conv=notrunc")
    cloud.ssh(last, f"{TOOL} osd retire failed")
    # What does not carry the osd any more is not Jarvis's to remove; the operator puts a new disk there.
    cloud.ssh(last, f"rm -f {DISK}; {TOOL} osd make && systemctl start jarvis-ceph-osd")
    assert cloud.ssh(last, "cat /var/lib/ceph/osd/jarvis/fsid") != before
    # Ceph's health is quiet about an osd that is new and has never been up.
    wait_until("every osd is up", lambda: ups(cloud) == [1, 1, 1], 2 * MINUTES)
    wait_until("HEALTH_OK", lambda: healthy(cloud), 5 * MINUTES)
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
