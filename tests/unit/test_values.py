"""Values that would stop a service: each is refused at its field, with what would be right."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.keys import host_key_mistake
from jarvis.config.labels import label_mistake
from jarvis.config.ports import uses
from jarvis.etcd.unit import flags as etcd_flags
from jarvis.etcd.unit import service
from jarvis.hosts.base import hosts_lines, resolved, sysctls
from jarvis.hosts.firewall import openings, ruleset
from jarvis.hosts.preflight import arguments, ports
from jarvis.kubernetes.control_plane import apiserver_flags, controller_manager_flags, scheduler_flags
from jarvis.kubernetes.flags import command_line, to_yaml
from jarvis.kubernetes.network import access_rules, masquerade_rules
from jarvis.kubernetes.node import kube_proxy_config, kubelet_config, label_patch
from jarvis.openstack.catalogue import CATALOGUE
from jarvis.stateful.ceph.text import server_conf
from jarvis.stateful.database.mariadb import option_file

PROJECT = Path(__file__).resolve().parents[2]
Values = dict[str, Any]
Change = Callable[[Values], None]


@pytest.fixture
def values() -> Values:
    """The environment of the stack dev, to be spoilt."""
    document = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    found: Values = document["config"]["jarvis:environment"]
    return found


def mistakes(values: Values) -> dict[str, str]:
    """The sentence about each field; no field has two."""
    with pytest.raises(ConfigurationError) as caught:
        parse_environment(values, "x")
    lines = [line.strip().partition(": ") for line in str(caught.value).splitlines()[1:]]
    found = {field: text for field, _, text in lines}
    assert len(found) == len(lines), lines
    return found


def put(values: Values, path: tuple[str | int, ...], to: object) -> Values:
    """``values`` with ``to`` at ``path``."""
    changed = copy.deepcopy(values)
    at: Any = changed
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    at[path[-1]] = to
    return changed


S0 = ("servers", 0)
# The path, what is there, the field of the error, and a part of what it says.
REFUSED: list[tuple[tuple[str | int, ...], object, str, str]] = [
    ((*S0, "labels"), {"node-role.kubernetes.io/worker": ""}, "node-role", "take a domain of yours"),
    ((*S0, "labels"), {"bad key!": "x"}, "bad key!", "1 to 63 letters of ASCII"),
    ((*S0, "labels"), {"example.org/row": "row 1 / ü"}, "example.org/row", "is not the value of a label"),
    ((*S0, "labels"), {"Example.org/row": "1"}, "Example.org/row", "is not a DNS name"),
    ((*S0, "labels"), {"jarvis.internal/etcd": "true"}, "jarvis.internal", "set roles"),
    ((*S0, "labels"), {"kubernetes.io/hostname": "a"}, "kubernetes.io/hostname", "by itself"),
    ((*S0, "sysctls"), {"net.ipv4.ip_forward": 0}, "net.ipv4.ip_forward", "pods are routed"),
    ((*S0, "sysctls"), {"net/ipv4/ip_forward": "0"}, "net/ipv4/ip_forward", "such as net.ipv4.ip_forward"),
    ((*S0, "sysctls"), {"net.ipv4.conf.all.forwarding": "0"}, "net.ipv4.conf", "pods are routed"),
    ((*S0, "sysctls"), {"net.bridge.bridge-nf-call-iptables": "0"}, "net.bridge", "rules of Services"),
    ((*S0, "sysctls"), {"vm.swappiness": "1\nnet.ipv4.ip_forward = 0"}, "vm.swappiness", "a line break"),
    ((*S0, "sysctls"), {"vm.swappiness\nnet.ipv4.ip_forward": "0"}, "", "is not one line"),
    ((*S0, "sysctls"), {"vm.swappiness": ""}, "vm.swappiness", "has no value"),
    ((*S0, "name"), "localhost", "", "take another name"),
    ((*S0, "name"), "Server", "", "lower-case letters"),
    ((*S0, "interface"), "eth 0", "", "the name of a network interface, such as eth0"),
    ((*S0, "user"), "", "", "the name of a user of the server"),
    ((*S0, "port"), 6443, "", "the API server has it on jarvis-1"),
    (
        ("gateway", "https_port"),
        22,
        "",
        "SSH has it on jarvis-1, jarvis-2, jarvis-3. Take another one, such as 443",
    ),
    (("gateway", "https_port"), 6443, "", "the API server has it"),
    (("gateway", "https_port"), 5000, "", "the registry has it"),
    (("gateway", "https_port"), 7000, "", "the storage has it"),
    (
        ("registry", "port"),
        2379,
        "",
        "etcd has it on jarvis-1, jarvis-2, jarvis-3. Take another one, such as 5000",
    ),
    (("registry", "port"), 80, "", "80 is less than 1024"),
    (("ssh", "port"), 10250, "", "the kubelet has it"),
    (("networks", "domain"), "cluster.local", "", "the cluster's own domain"),
    (("networks", "domain"), "svc.cluster.local", "", "below the cluster's own domain"),
    (("networks", "domain"), "cloud.localhost", "", "no DNS server is asked"),
    (("networks", "domain"), "cloud", "", "a DNS name of two words or more"),
    (("networks", "dns_servers"), ["10.96.0.10"], "[0]", "the cluster's own DNS"),
    (("networks", "dns_servers"), ["127.0.0.53"], "[0]", "no server's that a pod could reach"),
    (("networks", "dns_servers"), ["10.244.1.5"], "[0]", "a pod's"),
    (
        ("networks", "services"),
        "10.96.0.0/29",
        "",
        "too small for Services: the prefix may be from /12 to /28",
    ),
    (("networks", "services"), "10.0.0.0/8", "", "too large for Services"),
    (("networks", "services"), "224.0.0.0/16", "", "multicast"),
    (("networks", "pods"), "127.0.0.0/16", "", "the loopback interface"),
    (("networks", "management"), "10.88.0.7/24", "", "the network is 10.88.0.0/24"),
    (("openstack", "namespace"), "kube-system", "", "kube-system is Kubernetes'"),
    (("openstack", "namespace"), "default", "", "default is Kubernetes'"),
    (("openstack", "namespace"), "gateway", "", "gateway is the gateway's"),
    (("openstack", "region"), "my region", "", "a name of letters, digits"),
    (("openstack", "keystone", "admin_user"), "", "", "a name of 1 to 255"),
    (("openstack", "keystone", "options"), {"token.expiration": "1\n2"}, "token.expiration", "a line break"),
    (
        ("openstack", "keystone", "options"),
        {"token.expiration": []},
        "token.expiration",
        "an empty list",
    ),
    (("database", "options"), {"max_connections": "5\ndatadir = /"}, "max_connections", "a line break"),
    (("storage", "options"), {"mon_lease": "5\r"}, "", ""),
    (("etcd", "flags"), {"snapshot-count": "5\n--data-dir=/"}, "snapshot-count", "a line break"),
    (("database", "options"), {"max connections": 1}, "max connections", "the name of an option of MariaDB"),
    (("storage", "options"), {"[osd]": 1}, "[osd]", "the name of an option of Ceph"),
    (("etcd", "flags"), {"metrics": "a b"}, "metrics", "blanks, quotes"),
    (("kubernetes", "apiserver_flags"), {"v": None}, "v", "an empty value is not a text"),
    (("kubernetes", "kubelet"), {"a": {"b": ["c\nd"]}}, "a.b[0]", "a line break"),
    (("versions", "etcd"), "newest", "", "a version such as 1.37.2"),
    (("networks", "mangement"), "10.0.0.0/8", "", "the closest is management"),
    (("databse",), {}, "", "the closest is database"),
    (("patience",), "long", "", "'long' is not a whole number"),
    (("safety", "protect"), "perhaps", "", "'perhaps' is not true or false"),
    (("servers",), [], "", "needs one entry at least"),
]


@pytest.mark.parametrize(
    "case", REFUSED, ids=[f"{'.'.join(map(str, case[0]))}={case[1]}" for case in REFUSED]
)
def test_it_is_refused_at_its_field(
    values: Values, case: tuple[tuple[str | int, ...], object, str, str]
) -> None:
    path, value, inner, said = case
    if not said:
        parse_environment(put(values, path, value), "x")
        return
    found = mistakes(put(values, path, value))
    top = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    field = top + (inner if inner == "[0]" else f".{inner}" if inner else "")
    matching = {name: text for name, text in found.items() if name.startswith(field)}
    assert list(matching) == list(found), found
    (text,) = matching.values()
    assert said in text
    assert "^" not in text


GOOD: list[tuple[tuple[str | int, ...], object]] = [
    (
        (*S0, "labels"),
        {"topology.kubernetes.io/zone": "rack1", "example.org/row": 7, "ssd": True, "empty": ""},
    ),
    ((*S0, "labels"), {"disk.node.kubernetes.io/kind": "ssd"}),
    (
        (*S0, "sysctls"),
        {"net.ipv4.ip_forward": 1, "vm.swappiness": 10, "net.ipv4.tcp_rmem": "4096 87380 6291456"},
    ),
    (("networks", "domain"), "cloud.example.org"),
    (("networks", "cluster_domain"), "k8s.jarvis.internal"),
    (("networks", "services"), "10.96.0.0/28"),
    (("networks", "dns_servers"), ["10.88.0.1", "9.9.9.9"]),
    (("gateway", "https_port"), 8443),
    (("registry", "port"), 5001),
    (("database", "options"), {"max_connections": 500}),
    (("openstack", "keystone", "secret_options"), {"ldap.password": "one\ntwo"}),
]


@pytest.mark.parametrize("case", GOOD, ids=[f"{'.'.join(map(str, case[0]))}={case[1]}" for case in GOOD])
def test_what_is_right_is_taken(values: Values, case: tuple[tuple[str | int, ...], object]) -> None:
    path, value = case
    texts(parse_environment(put(values, path, value), "x"))


def test_numbers_and_booleans_of_labels_are_texts(values: Values) -> None:
    env = parse_environment(put(values, (*S0, "labels"), {"a": 1, "b": True}), "x")
    assert env.servers[0].labels == {"a": "1", "b": "true"}


def test_every_label_of_kubernetes_own_domains_but_some_is_refused() -> None:
    for key in (
        "kubernetes.io/x",
        "a.kubernetes.io/x",
        "k8s.io/x",
        "x.k8s.io/y",
        "node-restriction.kubernetes.io/a",
    ):
        assert "the kubelet does not start" in label_mistake(key, "")
    for key in (
        "topology.kubernetes.io/region",
        "kubelet.kubernetes.io/a",
        "a.node.kubernetes.io/b",
        "notk8s.io/x",
    ):
        assert label_mistake(key, "") == ""
    assert label_mistake("a" * 64, "")
    assert label_mistake("a", "v" * 64)


# --- memory -----------------------------------------------------------------------------------------------


def test_a_buffer_pool_larger_than_the_servers_is_refused(values: Values) -> None:
    values["preflight"]["min_memory_mib"] = 4000
    values["database"] = {"buffer_pool_mib": 4000}
    (said,) = mistakes(values).items()
    assert said[0] == "database.buffer_pool_mib"
    assert said[1].startswith(
        "database.buffer_pool_mib 4000 and queue.memory_mib 512 do not fit into the 4000 MiB"
    )


def test_where_nothing_is_said_of_memory_preflight_asks_the_servers(values: Values) -> None:
    values["database"] = {"buffer_pool_mib": 100_000}
    env = parse_environment(values, "x")
    told = arguments(env, env.servers[0])
    assert told["min_memory_mib"] == "100512"
    assert told["memory_fields"] == "database.buffer_pool_mib,queue.memory_mib"


# --- ports ------------------------------------------------------------------------------------------------


def test_every_port_that_the_firewall_opens_is_known(values: Values) -> None:
    """The firewall opens what something on the server listens on, and nothing else."""
    env = parse_environment(values, "x")
    chosen = {22, env.gateway.https_port, env.registry.port}
    for server in env.servers:
        for opening in openings(env, server):
            for port in opening.ports:
                first, _, last = str(port).partition("-")
                both = int(first), int(last or first)
                known = any(all(use.has(one, opening.protocol) for one in both) for use in uses(server))
                assert known or int(first) in chosen, opening


def test_the_ports_of_preflight(values: Values) -> None:
    env = parse_environment(values, "x")
    assert ports(env, env.servers[0]) == [
        443, 2379, 2380, 2381, 3300, 3306, 3307, 3308, 3309, 4567, 5000, 5671, 5673, 6443, 7443, 10248, 10249,
        10250, 10256, 10257, 10259, 25672,
    ]  # fmt: skip


def test_two_chosen_ports_that_are_one(values: Values) -> None:
    values["registry"] = {"port": 8443}
    values["gateway"] = {"https_port": 8443}
    assert "the registry has it" in mistakes(values)["gateway.https_port"]


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0", ""),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampl", "bytes"),
        ("ssh-ed25519 garbage!", "is not base64"),
        (
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0",
            "not one of that kind",
        ),
        ("ssh-rsa AAAAB3NzaC1yc2E=", "bytes"),
    ],
)
def test_host_keys(line: str, said: str) -> None:
    found = host_key_mistake(line)
    assert (said in found) if said else not found


# --- anything anywhere ------------------------------------------------------------------------------------

WRONG: list[object] = [
    None, "", " ", "a\nb",
    "a\0b", "ü", "x", "0", "-1", 0, -1, 10**30, 1.5, True, [], {}, [[]], [None], {"a": 1},
    {"a\nb": "c"}, {"": ""}, {"a": None}, {"a": "b\nc"}, {"a": {"b": [None]}}, "2024-01-31", "10.88.0.11",
    "10.244.0.0/30", "0.0.0.0/0", "kubernetes.io/x", [0], ["x"], "/", "..", "%", "$HOME", "'", '"', "@KEY@",
]  # fmt: skip


# Of sections.
LISTS = ("servers", "owned_elsewhere", "groups", "images", "projects", "role_assignments")
# One of each that an environment may declare.
OBJECTS = {
    "groups": [{"name": "staff"}],
    "images": [
        {"name": "i", "url": "https://example.org/i", "sha256": "0" * 64, "format": "raw", "project": "web"}
    ],
    "projects": [{"name": "web"}],
    "role_assignments": [{"role": "member", "group": "staff", "project": "web"}],
}


def fields(model: type[BaseModel], at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field below ``model``; of lists of sections those of their first."""
    for name, field in model.model_fields.items():
        path = (*at, name)
        yield path
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                inner = (*path, 0) if field.annotation is not kind and name in LISTS else path
                yield from fields(kind, inner)


def texts(env: Environment) -> None:
    """All that is made of ``env`` as text, for files of servers."""
    addresses = {server.name: str(server.address) for server in env.servers}
    for server in env.servers:
        mib, options = env.database.buffer_pool_mib, env.database.options
        option_file(name=server.name, cluster="x", addresses=addresses, buffer_pool_mib=mib, options=options)
        server_conf(
            unique="x",
            name=server.name,
            mons=addresses,
            copies=env.copies,
            osd=server.osd,
            memory_mib=env.storage.osd_memory_mib,
            options=env.storage.options,
        )
        service(etcd_flags(server.name, str(server.address), env.etcd.flags))
        sysctls(server), resolved(env), hosts_lines(env, server)
        ruleset(env, server), masquerade_rules(env), access_rules(env, server), arguments(env, server)
        to_yaml(kubelet_config(env, env.kubernetes.kubelet)), label_patch(env, server)
        to_yaml(kube_proxy_config(env, env.kubernetes.kube_proxy))
        for flags in (
            apiserver_flags(env, server, [], env.kubernetes.apiserver_flags),
            controller_manager_flags(env, env.kubernetes.controller_manager_flags),
            scheduler_flags(env, env.kubernetes.scheduler_flags),
        ):
            command_line("x", flags)


ALL_FIELDS = sorted(set(fields(Environment)), key=str)
# A wrong one of these may be found at what is compared with it.
ACROSS = {
    "networks.management": ("servers", "networks"),
    "networks.virtual_address": ("servers",),
    "servers[0].address": ("servers",),
    "servers[0].roles": ("servers",),
    "networks.cluster_domain": ("networks.domain",),
    "networks.pods": ("networks",),
    "servers[0].host_key_file": ("servers[0].host_key",),
    "kubernetes.owned_elsewhere[0].namespace": ("kubernetes.owned_elsewhere[0]",),
    "ssh.bastion.host_key": ("ssh.bastion",),
    "ssh.bastion.host_key_file": ("ssh.bastion",),
    "openstack.objects.images[0].file": ("openstack.objects.images[0].url",),
    **{
        f"openstack.objects.{each}": ("openstack.objects.role_assignments[0]", "openstack.objects.images[0]")
        for each in (
            *(f"{kind}{part}" for kind in ("groups", "projects") for part in ("", "[0].name", "[0].domain")),
            *(f"role_assignments[0].{part}" for part in ("domain", "system", "user")),
        )
    },
}


def errors_of(values: Values) -> list[str]:
    """The lines of the error; without one, all texts are made."""
    try:
        env = parse_environment(values, "x")
    except ConfigurationError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    texts(env)
    return []


@pytest.mark.parametrize("path", ALL_FIELDS, ids=[".".join(map(str, path)) for path in ALL_FIELDS])
def test_a_wrong_value_is_an_error_of_its_field_and_never_another(
    values: Values, path: tuple[str | int, ...]
) -> None:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    values["ssh"]["bastion"] = {"host": "gate", "host_key": "ssh-ed25519 AAAA"}
    values["openstack"]["services"] = [one.name for one in CATALOGUE]
    values["openstack"]["objects"] = copy.deepcopy(OBJECTS)
    given = {"kind": "Service", "namespace": "x", "name": "x", "field": "spec.x", "manager": "x"}
    values.setdefault("kubernetes", {})["owned_elsewhere"] = [given]
    for wrong in WRONG:
        lines = errors_of(put(values, path, wrong))
        named = (field, *ACROSS.get(field, ()))
        assert not lines or any(line.startswith(named) for line in lines), (wrong, lines)


def test_no_error_shows_a_secret(values: Values) -> None:
    whole = put(values, ("openstack", "keystone", "secret_options"), "hunter2")
    assert "hunter2" not in str(mistakes(whole))
    for wrong in (["hunter2"], {"hunter2": 1}):
        spoilt = put(values, ("openstack", "keystone", "secret_options"), {"ldap.password": wrong})
        assert "hunter2" not in str(mistakes(spoilt))
