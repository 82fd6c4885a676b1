"""`pulumi destroy` leaves clean servers, on which the next deployment could begin."""

from __future__ import annotations

import json

import pytest
from deployment import Cloud

FOLDERS = (
    "/etc/etcd",
    "/etc/kubernetes",
    "/etc/containerd",
    "/etc/systemd/resolved.conf.d/90-jarvis.conf",
    "/var/lib/etcd",
    "/var/lib/containerd",
    "/var/lib/jarvis",
    "/var/lib/kubelet",
    "/var/lib/mariadb",
    "/var/lib/jarvis-database",
    # (The folders themselves come with Debian's packages.)
    "/etc/ceph/ceph.conf",
    "/var/lib/ceph/mon/jarvis",
    "/var/lib/ceph/osd/jarvis",
    "/var/lib/ceph/osd.img",
    "/etc/mysql/mariadb.conf.d/90-jarvis.cnf",
    "/var/lib/rabbitmq",
    "/etc/rabbitmq/jarvis",
    "/var/lib/registry",
    "/var/lib/extensions/jarvis.raw",
)
# What listens on a bare server: sshd, and systemd-resolved on loopback (DNS, LLMNR).
BARE_PORTS = {"22", "53", "5355"}


@pytest.fixture(scope="module")
def destroyed(cloud: Cloud) -> Cloud:
    cloud.stack.run("destroy", "--yes", "--skip-preview")
    return cloud


def test_the_state_is_empty(destroyed: Cloud) -> None:
    assert destroyed.stack.state() == []


def test_no_unit_is_left(destroyed: Cloud) -> None:
    units = "'jarvis-*' 'etcd*' 'kube*' 'containerd*' 'haproxy*' 'keepalived*' 'mariadb*' 'rabbit*' 'epmd*'"
    command = (
        f"systemctl list-units --plain --no-legend --state=active,activating,failed {units}; "
        "ls /etc/systemd/system | grep -E '^(jarvis|etcd|kube|containerd)'; true"
    )
    assert dict(destroyed.each(command)) == dict.fromkeys(destroyed.servers, "")


def test_no_process_is_left(destroyed: Cloud) -> None:
    names = "'etcd|kube|containerd|registry|haproxy|keepalived|mariadbd|coredns|uwsgi|pause|beam|epmd|ceph'"
    assert dict(destroyed.each(f"ps -eo comm= | grep -E {names}; true")) == dict.fromkeys(
        destroyed.servers, ""
    )


def test_no_file_is_left(destroyed: Cloud) -> None:
    command = f"ls -d {' '.join(FOLDERS)} 2>/dev/null; grep -c Jarvis /etc/hosts | grep -v '^0$'; true"
    assert dict(destroyed.each(command)) == dict.fromkeys(destroyed.servers, "")


def test_nothing_is_mounted(destroyed: Cloud) -> None:
    command = "findmnt --noheadings --output TARGET --raw | grep -E '^/usr|kubelet|containerd|/netns/'; true"
    assert dict(destroyed.each(command)) == dict.fromkeys(destroyed.servers, "")
    for server, text in destroyed.each("systemd-sysext status --json=short"):
        merged = [each for each in json.loads(text) if each.get("extensions") not in ("none", [], None)]
        assert merged == [], server


def test_no_port_is_open(destroyed: Cloud) -> None:
    for server, text in destroyed.each("ss -Hltn"):
        ports = {line.split()[3].rsplit(":", 1)[1] for line in text.splitlines()}
        assert ports <= BARE_PORTS, server


def test_nothing_is_left_of_the_network(destroyed: Cloud) -> None:
    assert destroyed.holder() is None
    command = (
        "ip -o route show 10.244.0.0/16; ip -o route show root 10.244.0.0/16; ip -o link show type bridge; "
    )
    assert dict(
        destroyed.each(command + "nft list tables | grep -iE 'kube|jarvis|cni'; true")
    ) == dict.fromkeys(destroyed.servers, "")
