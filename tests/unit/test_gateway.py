"""The gateway's configuration, as text and as HAProxy reads it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from jarvis.config import ServerRole
from jarvis.gateway import Route, TcpRoute, haproxy_config
from jarvis.gateway.haproxy import DRAIN, PAUSE, PLACES
from jarvis.gateway.http import daemon_set_spec, in_cluster_names
from tests.unit.test_kubernetes_text import environment

KEYSTONE = Route(
    name="keystone",
    host="identity.example.org",
    service="keystone.openstack",
    whole=True,
)
GLANCE = Route(name="glance", host="image.example.org", service="glance.openstack")
CACHE = TcpRoute(name="keystone-cache", port=11211, services=["cache-1.openstack", "cache-2.openstack"])


OWN = (IPv4Address("192.0.2.100"),)


def _config(
    *routes: Route, tcp_routes: Sequence[TcpRoute] = (), addresses: Sequence[IPv4Address] = OWN
) -> str:
    return haproxy_config(
        routes=routes,
        cluster_domain="cluster.local",
        cluster_dns=IPv4Address("10.96.0.10"),
        addresses=addresses,
        node_addresses=[IPv4Address("10.244.0.1"), IPv4Address("10.244.1.1")],
        tcp_routes=tcp_routes,
    )


def _section(config: str, head: str) -> str:
    return config.split(f"\n{head}\n")[1].split("\n\n")[0]


def test_nothing_is_left_to_fill_in() -> None:
    assert re.findall(r"@[A-Z]+@", _config(KEYSTONE, GLANCE)) == []


def test_pods_are_found_by_dns() -> None:
    config = _config(KEYSTONE)
    name = "_http._tcp.keystone.openstack.svc.cluster.local"
    assert f"server-template keystone- {PLACES} {name}\n" in config
    assert "nameserver udp 10.96.0.10:53" in config
    assert "nameserver tcp tcp@10.96.0.10:53" in config


def test_each_service_has_a_name_and_a_prefix() -> None:
    public = _section(_config(KEYSTONE, GLANCE), "frontend requests")
    for name, host, prefix in (
        ("keystone", "identity.example.org", "identity"),
        ("glance", "image.example.org", "image"),
    ):
        [line] = [each for each in public.splitlines() if each.startswith(f"    use_backend {name} ")]
        assert f"{{ var(txn.host) -m str {host} }}" in line
        assert f"by_address {{ var(txn.path) -m reg ^/{prefix}(/|$) }}" in line
    assert r"replace-path /identity/?(.*) /\1 if" in _section(_config(KEYSTONE), "backend keystone")


def test_while_the_address_changes_services_are_found_under_both() -> None:
    config = _config(KEYSTONE, addresses=[*OWN, IPv4Address("192.0.2.101")])
    public, backend = _section(config, "frontend requests"), _section(config, "backend keystone")
    # A list is any of its values (HAProxy's manual, "Using ACLs").
    assert "    acl by_address var(txn.host) -m str 192.0.2.100 192.0.2.101\n" in public
    assert "    acl by_prefix var(txn.host) -m str 192.0.2.100 192.0.2.101\n" in backend


def test_what_a_service_has_begun_with_is_not_sent_again() -> None:
    config = _config(KEYSTONE, GLANCE)
    told = [line.strip() for line in config.splitlines() if line.strip().startswith("retry-on")]
    assert told == ["retry-on conn-failure"]


def test_the_first_hop_is_more_patient_than_any_backend() -> None:
    slow = replace(GLANCE, patience=600)
    [limit] = re.findall(r"timeout server (\d+)s", _section(_config(KEYSTONE, slow), "backend requests"))
    assert int(limit) > 600 + 20


def test_pods_reach_the_gateway_of_their_node_where_each_node_has_one() -> None:
    env = environment()
    assert all({*server.roles} >= {ServerRole.WORKER, ServerRole.GATEWAY} for server in env.servers)
    assert in_cluster_names(env, [KEYSTONE.host, GLANCE.host]) == {
        "identity.example.org": "gateway.gateway.svc.cluster.local",
        "image.example.org": "gateway.gateway.svc.cluster.local",
    }
    first = env.servers[0]
    without = first.model_copy(
        update={"roles": [role for role in first.roles if role is not ServerRole.GATEWAY]}
    )
    mixed = env.model_copy(update={"servers": [without, *env.servers[1:]]})
    assert in_cluster_names(mixed, [KEYSTONE.host]) == {}


def test_what_is_passed_on_is_passed_on_as_it_is_to_the_pod_that_dns_names() -> None:
    section = _section(_config(KEYSTONE, tcp_routes=[CACHE]), "listen keystone-cache")
    lines = [line.strip() for line in section.splitlines()]
    assert {"bind :11211", "mode tcp"} <= set(lines)
    # The second is a backup, whose connections end when the first is back: all gateways take the same.
    assert lines[-2:] == [
        "server-template keystone-cache-0- 2 _tcp._tcp.cache-1.openstack.svc.cluster.local"
        " on-marked-up shutdown-backup-sessions",
        "server-template keystone-cache-1- 2 _tcp._tcp.cache-2.openstack.svc.cluster.local backup",
    ]
    container = daemon_set_spec(image="x", port=443, revision="1", tcp_routes=[CACHE])["template"]["spec"][
        "containers"
    ][0]
    [port] = [one for one in container["ports"] if one["name"] == "keystone-cache"]
    # Not of the server: outside nobody has business there.
    assert port == {"name": "keystone-cache", "containerPort": 11211, "protocol": "TCP"}


@pytest.mark.parametrize("change", [{"name": "other"}, {"port": 1}])
def test_tcp_routes_do_not_share(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"several TCP routes of the gateway have the (name|port)"):
        _config(KEYSTONE, tcp_routes=[CACHE, replace(CACHE, **change)])  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"name": "a b"}, {"services": ["x }"]}])
def test_a_tcp_route_cannot_smuggle_in_a_line(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not a"):
        TcpRoute(**{"name": "a", "port": 1, "services": ["a.x"], **change})  # type: ignore[arg-type]


def test_a_drain_is_ordered_by_kubelets_alone() -> None:
    internal = _section(_config(KEYSTONE), "frontend internal")
    assert "acl local src 10.244.0.1 10.244.1.1\n" in internal
    for line in internal.splitlines():
        assert "/drain" not in line or line.endswith("local")


def test_a_pod_is_given_the_time_that_a_drain_takes() -> None:
    spec = daemon_set_spec(image="x", port=443, revision="1")["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > PAUSE + DRAIN
    assert f"hard-stop-after {DRAIN}s\n" in _config(KEYSTONE)
    assert f"timeout tarpit {PAUSE}s\n" in _config(KEYSTONE)


@pytest.mark.parametrize("field", ["name", "host"])
def test_routes_do_not_share(field: str) -> None:
    other = Route(**{"name": "b", "host": "b.example.org", "service": "b.x", field: getattr(KEYSTONE, field)})
    with pytest.raises(ValueError, match=f"have the {field} {getattr(KEYSTONE, field)}"):
        _config(KEYSTONE, other)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"host": "a\n"},
        {"host": "A.example.org"},
        {"service": "x }"},
        {"health": "healthcheck"},
        {"self_links": ["/a b"]},
    ],
)
def test_a_route_cannot_smuggle_in_a_line(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Route(**{"name": "a", "host": "a.example.org", "service": "a.x", **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("addresses", [OWN, (*OWN, IPv4Address("192.0.2.101"))])
def test_haproxy_takes_it(tmp_path: Path, addresses: Sequence[IPv4Address]) -> None:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert haproxy, "haproxy is missing; it is in toolchain/apt.txt: make toolchain"
    pem = tmp_path / "server.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate"), "-subj", "/CN=x"]
    subprocess.run(words, check=True, capture_output=True)
    pem.write_text((tmp_path / "certificate").read_text() + (tmp_path / "key").read_text())
    file = tmp_path / "haproxy.cfg"
    config = _config(KEYSTONE, GLANCE, tcp_routes=[CACHE], addresses=addresses)
    file.write_text(config.replace("/run/haproxy/server.pem", str(pem)))
    done = subprocess.run([haproxy, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
