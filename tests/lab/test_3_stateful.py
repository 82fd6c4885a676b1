"""The database's and the storage's clusters, asked by MariaDB's and Ceph's own tools."""

from __future__ import annotations

import json
from typing import Any

from deployment import Cloud, wait_until

MINUTES = 60
STATUS = "mariadb --batch --skip-column-names --execute \"SHOW GLOBAL STATUS LIKE 'wsrep_%'\""


def members(cloud: Cloud) -> dict[str, dict[str, str]]:
    """What each member's MariaDB says of the cluster; nothing of one that does not answer."""
    found = {}
    for server in cloud.servers:
        said = cloud.attempt_ssh(server, STATUS).stdout
        found[server] = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return found


def in_step(cloud: Cloud) -> bool:
    said = members(cloud).values()
    return all(
        (each.get("wsrep_cluster_size"), each.get("wsrep_local_state_comment")) == ("3", "Synced")
        for each in said
    )


def ceph(cloud: Cloud, *words: str) -> Any:
    return json.loads(cloud.ssh(cloud.servers[0], f"timeout 60 ceph {' '.join(words)} --format json"))


def test_the_database_is_one_cluster_of_three(cloud: Cloud) -> None:
    wait_until("all members are in step", lambda: in_step(cloud), 3 * MINUTES)
    assert len({each["wsrep_cluster_state_uuid"] for each in members(cloud).values()}) == 1


def test_what_one_member_has_the_others_have(cloud: Cloud) -> None:
    first, *others = cloud.servers
    make = "CREATE DATABASE tried; CREATE TABLE tried.t (a INT PRIMARY KEY); INSERT INTO tried.t VALUES (7)"
    cloud.ssh(first, f"mariadb --execute '{make}'")
    try:
        for server in others:
            read = (
                "mariadb --batch --skip-column-names --execute 'SET wsrep_sync_wait=1; SELECT a FROM tried.t'"
            )
            assert cloud.ssh(server, read).strip() == "7", server
    finally:
        cloud.ssh(first, "mariadb --execute 'DROP DATABASE tried'")


def test_the_database_speaks_by_tls_alone(cloud: Cloud) -> None:
    """Even to an account that would take less."""
    first = cloud.servers[0]
    come = "mariadb --host=database.jarvis.internal --user=tried --password=tried --execute 'SELECT 1'"
    safe = "--ssl-ca=/etc/mysql/jarvis/authority.pem --ssl-verify-server-cert"
    cloud.ssh(first, "mariadb --execute \"CREATE USER 'tried'@'%' IDENTIFIED BY 'tried'\"")
    try:
        for server in cloud.servers:
            cloud.ssh(server, f"{come} {safe}")
            run = cloud.attempt_ssh(server, f"{come} --skip-ssl")
            # The same name and password: only the encryption is missing.
            assert run.returncode != 0, server
            assert "Access denied" in run.stderr, server
    finally:
        cloud.ssh(first, "mariadb --execute \"DROP USER 'tried'@'%'\"")


def test_a_member_without_data_is_sent_a_copy(cloud: Cloud) -> None:
    server = cloud.servers[1]
    before = members(cloud)[server]["wsrep_cluster_state_uuid"]
    cloud.ssh(
        server,
        "systemctl stop mariadb && rm -rf /var/lib/mariadb /var/lib/jarvis-database/member"
        " && systemctl start mariadb",
    )
    wait_until("all members are in step", lambda: in_step(cloud), 5 * MINUTES)
    assert members(cloud)[server]["wsrep_cluster_state_uuid"] == before


def test_the_storage_is_whole(cloud: Cloud) -> None:
    wait_until(
        "HEALTH_OK",
        lambda: ceph(cloud, "health")["status"] == "HEALTH_OK",
        5 * MINUTES,
        instead=lambda: ceph(cloud, "health", "detail"),
    )
    status = ceph(cloud, "status")
    assert sorted(status["quorum_names"]) == sorted(cloud.servers)
    assert status["osdmap"]["num_up_osds"] == status["osdmap"]["num_in_osds"] == 3
    assert status["mgrmap"]["available"]
    assert status["mgrmap"]["num_standbys"] == 2
    assert json.loads(cloud.stack.query("stack", "output", "storage", "--json")) == {"images": "HEALTH_OK"}


def test_images_are_kept_three_times(cloud: Cloud) -> None:
    assert ceph(cloud, "osd", "pool", "get", "images", "size")["size"] == 3
    assert ceph(cloud, "osd", "pool", "get", "images", "min_size")["min_size"] == 2
    # Each copy on another server.
    pools = {one["pool_name"]: one["pool_id"] for one in ceph(cloud, "osd", "pool", "ls", "detail")}
    groups = [
        one["acting"]
        for one in ceph(cloud, "pg", "dump", "pgs_brief", "2>/dev/null")["pg_stats"]
        if one["pgid"].startswith(f"{pools['images']}.")
    ]
    assert groups
    assert all(sorted(acting) == [0, 1, 2] for acting in groups)


def test_glance_may_use_its_pool_and_nothing_else(cloud: Cloud) -> None:
    [glance] = ceph(cloud, "auth", "get", "client.glance")
    assert glance["caps"] == {
        "mon": "profile rbd",
        "mgr": "profile rbd pool=images",
        "osd": "profile rbd pool=images",
    }
