"""A busy machine is not a lost one: while all processors are taken, no member is given up, no session cut."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from deployment import Cloud, wait_until
from test_3_stateful import in_step

MINUTES = 60
# Tasks for each processor of this machine, and for how long: members were given up at 5 and 19.
LOADS = (5, 19)
SECONDS = 90
# In a slice of its own, beside those of services and of who logs in.
UNIT, SLICE = "tried-busy", "tried.slice"
# What each proxy has counted; `chkdown`: how often it took a member for lost, and ended its sessions.
# https://docs.haproxy.org/2.6/management.html#9.1
LOOK = """python3 - <<'END'
import socket
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/jarvis-link/admin.sock")
stream.sendall(b"show stat\\n")
text = b""
while more := stream.recv(65536):
    text += more
print(text.decode())
END"""
VIEWS = "journalctl --unit mariadb --no-pager --output cat | grep -c 'view(view_id(NON_PRIM'; true"


def keep_busy(cloud: Cloud, tasks: int) -> None:
    """Lets so many tasks, in all, take the processors for ``SECONDS``; each server has its share of them,
    beside what it is for. They end by themselves: a login takes long meanwhile."""
    each = -(-tasks // len(cloud.servers))
    spin = f"for task in $(seq {each}); do while :; do :; done & done; wait"
    words = f"systemd-run --quiet --unit={UNIT} --slice={SLICE} -p RuntimeMaxSec={SECONDS}"
    try:
        with ThreadPoolExecutor(len(cloud.servers)) as pool:
            list(pool.map(lambda server: cloud.ssh(server, f"{words} sh -c '{spin}'"), cloud.servers))
        threading.Event().wait(SECONDS)
        # Another result: they ended before their time.
        wait_until("the tasks had their time", lambda: results(cloud) == {"timeout"}, 2 * MINUTES)
    finally:
        dict(cloud.each(f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}; true"))


def results(cloud: Cloud) -> set[str]:
    return {text.strip() for _, text in cloud.each(f"systemctl show --property=Result --value {UNIT}")}


def downs(cloud: Cloud) -> dict[str, int]:
    """How often each server's proxy has taken each of the database's members for lost."""
    found = {}
    for server, text in cloud.each(LOOK):
        lines = [line.split(",") for line in text.splitlines() if line]
        names = {name: at for at, name in enumerate(lines[0])}
        for line in lines[1:]:
            if line[0] == "database" and line[1] in cloud.servers:
                found[f"{line[1]} seen from {server}"] = int(line[names["chkdown"]] or 0)
    return found


@pytest.mark.parametrize("load", LOADS)
def test_no_member_is_given_up_while_the_processors_are_busy(cloud: Cloud, load: int) -> None:
    wait_until("all members are in step", lambda: in_step(cloud), 3 * MINUTES)
    before = downs(cloud), dict(cloud.each(VIEWS))
    assert len(before[0]) == len(cloud.servers) ** 2
    keep_busy(cloud, load * (os.cpu_count() or 1))
    assert (downs(cloud), dict(cloud.each(VIEWS))) == before
