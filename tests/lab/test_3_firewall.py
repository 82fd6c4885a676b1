"""Who may speak to a server, tried from outside, from a pod and from the servers."""

from __future__ import annotations

import socket

import pytest
from deployment import Cloud
from test_3_cloud import keystone_pods

# etcd (clients, members), kubelet, MariaDB itself.
INNER = {2379: "etcd", 2380: "etcd", 10250: "kubelet", 3307: "mariadb"}
TRY = "import socket; print(socket.socket().connect_ex(('%s', %d)))"
REFUSED = "113"  # EHOSTUNREACH: what a connection gets for "administratively prohibited"


def _addresses(cloud: Cloud) -> dict[str, str]:
    return {server["name"]: server["address"] for server in cloud.facts["servers"]}


def _listens(cloud: Cloud, server: str, port: int) -> bool:
    return bool(cloud.ssh(server, f"ss -Hltn 'sport = :{port}'").strip())


def test_inner_ports_are_closed_to_strangers(cloud: Cloud) -> None:
    tried = 0
    for server, address in _addresses(cloud).items():
        for port in INNER:
            # What does not listen would be refused anyhow, and prove nothing.
            if _listens(cloud, server, port):
                with pytest.raises(OSError, match="No route"), socket.create_connection((address, port), 5):
                    pass
                tried += 1
    assert tried >= 3 * len(cloud.servers)


def test_inner_ports_are_closed_to_pods(cloud: Cloud) -> None:
    pod = keystone_pods(cloud)[0]
    server = next(name for name in cloud.servers if _listens(cloud, name, 3307))
    for port in INNER:
        program = TRY % (_addresses(cloud)[server], port)
        said = cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", program)
        assert said.strip() == REFUSED, port


def test_inner_ports_are_open_to_servers(cloud: Cloud) -> None:
    for port in INNER:
        for name, address in _addresses(cloud).items():
            if _listens(cloud, name, port):
                for server in cloud.servers:
                    cloud.ssh(server, f"timeout 5 bash -c '</dev/tcp/{address}/{port}'")


def test_what_is_for_everyone_is_open(cloud: Cloud) -> None:
    for port in (443, 6443):
        with socket.create_connection((cloud.virtual_address, port), 5):
            pass


def test_rules_that_would_lock_the_operator_out_are_refused(cloud: Cloud) -> None:
    run = cloud.attempt_ssh(
        cloud.servers[0], "/var/lib/jarvis/bin/firewall check 192.0.2.0/24,198.51.100.7/32"
    )
    assert run.returncode == 1
    assert "firewall.operators (192.0.2.0/24,198.51.100.7/32) would lock out" in run.stderr
    assert "jarvis-check" not in cloud.ssh(cloud.servers[0], "nft list tables")
