"""What hosts and etcd are told, as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jarvis.config import Environment, ServerRole, parse_environment
from jarvis.etcd import unit
from jarvis.etcd.member import EtcdMemberArgs, service
from jarvis.hosts import base
from jarvis.hosts.host import without_swap
from jarvis.hosts.preflight import arguments, ports, target
from jarvis.remote import File, HostServiceArgs, Target
from jarvis.remote.service import command_text, directives


@pytest.fixture
def env() -> Environment:
    roles = ["etcd", "control-plane", "worker", "gateway"]
    servers: list[dict[str, Any]] = [
        {"name": f"s{n}", "address": f"192.0.2.1{n}", "host_key": "ssh-ed25519 AAAA", "roles": list(roles)}
        for n in (1, 2, 3)
    ]
    servers[1]["roles"] += ["registry", "database", "queue", "storage"]
    servers[2]["sysctls"] = {"fs.inotify.max_user_instances": "128"}
    values = {
        "name": "dev",
        "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
        "servers": servers,
    }
    return parse_environment(values, "a test")


def test_only_ports_of_a_servers_roles_must_be_free(env: Environment) -> None:
    assert 3307 not in ports(env, env.servers[0])
    assert {3307, env.registry.port} <= set(ports(env, env.servers[1]))
    assert {443, 3306, 5671, 2379, 2380, 6443, 7443, 10250} <= set(ports(env, env.servers[0]))


def test_preflight_is_told_what_the_configuration_says(env: Environment) -> None:
    told = arguments(env, env.servers[0])
    assert (told["server"], told["address"], told["time_sync"]) == ("s1", "192.0.2.11", "yes")
    assert told["min_memory_mib"] == str(env.preflight.min_memory_mib)
    # The same at each run: a time among them would be a change of every server, every time.
    assert told == arguments(env, env.servers[0])


def test_packages_follow_roles(env: Environment) -> None:
    assert "mariadb-server" not in base.packages(env.servers[0])
    assert {"mariadb-server", "haproxy", "keepalived", "nftables"} <= set(base.packages(env.servers[1]))


def test_every_server_is_known_by_name(env: Environment) -> None:
    lines = base.hosts_lines(env, env.servers[0]).splitlines()
    assert lines[:3] == ["192.0.2.11 s1", "192.0.2.12 s2", "192.0.2.13 s3"]
    assert "192.0.2.12 registry.jarvis.internal" in lines
    names = " ".join(
        f"{name}.jarvis.internal" for name in ("api", "identity", "image", "placement", "compute")
    )
    assert f"192.0.2.100 {names}" in lines
    assert "192.0.2.11 database.jarvis.internal queue.jarvis.internal" in lines
    assert "192.0.2.12 registry.jarvis.internal" in base.hosts_lines(env, env.servers[1])


def test_names_of_the_cluster_are_asked_of_its_own_dns(env: Environment) -> None:
    assert base.resolved(env) == "[Resolve]\nDNS=10.96.0.10\nDomains=~cluster.local\n"


def test_a_servers_own_kernel_settings_win(env: Environment) -> None:
    assert "fs.inotify.max_user_instances = 8192\n" in base.sysctls(env.servers[0])
    assert "fs.inotify.max_user_instances = 128\n" in base.sysctls(env.servers[2])


def test_a_server_bears_the_mark_of_its_environment(env: Environment) -> None:
    files = {f.path: f for f in base.base_files(env, env.servers[0], "an id") if isinstance(f, File)}
    assert files["/var/lib/jarvis/cluster"].content == "dev s1"
    assert files["/var/lib/jarvis/deployment"].content == "an id"
    # Written in this order: what has a name and no id is then of before there were ids.
    assert list(files).index("/var/lib/jarvis/deployment") < list(files).index("/var/lib/jarvis/cluster")


def test_etcd_speaks_to_nobody_without_a_certificate() -> None:
    flags = unit.flags("s1", "192.0.2.11", {})
    assert flags["client-cert-auth"] == flags["peer-client-cert-auth"] == "true"
    for field in ("listen-client-urls", "advertise-client-urls", "listen-peer-urls"):
        assert all(url.startswith("https://") for url in flags[field].split(","))
    assert flags["listen-metrics-urls"].startswith("http://127.0.0.1:")
    assert flags["peer-cert-allowed-cn"] == unit.MEMBER_NAME
    assert flags["tls-min-version"] == "TLS1.2"


def test_the_configurations_flags_win() -> None:
    flags = unit.flags("s1", "192.0.2.11", {"election-timeout": 3000, "client-cert-auth": True})
    assert (flags["election-timeout"], flags["client-cert-auth"]) == ("3000", "true")
    assert "  --election-timeout=3000" in unit.service(flags)


def test_the_unit_runs_unprivileged_and_is_ready_when_it_serves() -> None:
    lines = unit.service(unit.flags("s1", "192.0.2.11", {})).splitlines()
    for line in ("Type=notify", "User=etcd", "NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always"):
        assert line in lines
    command = "\n".join(lines).split("ExecStart=")[1].split("\nRestart")[0]
    assert all(line.endswith("\\") for line in command.splitlines()[:-1])


def test_members_look_for_unused_space_at_hours_of_their_own() -> None:
    assert len({unit.defrag_timer(index) for index in range(5)}) == 5


def _role(env: Environment, index: int, others: list[str]) -> str:
    class Trusted:
        certificate = "CA"

    args: Any = EtcdMemberArgs(
        host=None,  # type: ignore[arg-type]
        others=others,
        index=index,
        authority=Trusted(),  # type: ignore[arg-type]
        flags=env.etcd.flags,
    )
    where = Target(server="s1", host="192.0.2.11", host_key="ssh-ed25519 AAAA")
    role = service(
        target=where, name="s1", address="192.0.2.11", args=args, release="d", certificate="C", key="K"
    )
    assert [file.path for file in role.secret_files] == [unit.KEY]
    assert (role.secret_files[0].mode, role.secret_files[0].owner) == ("0400", "etcd:etcd")
    assert not any(getattr(entry, "content", "") == "K" for entry in role.files)
    return directives(role)


def test_the_first_member_may_begin_and_the_others_not(env: Environment) -> None:
    first = _role(env, 0, ["192.0.2.12"])
    assert "join s1 https://192.0.2.11:2380 yes https://192.0.2.12:2379\n" in first
    assert " no https://192.0.2.12:2379\n" in _role(env, 1, ["192.0.2.12"])


def test_a_lone_member_has_no_others(env: Environment) -> None:
    assert "join s1 https://192.0.2.11:2380 yes -\n" in _role(env, 0, [])


def test_a_new_member_does_not_restart_the_old_ones(env: Environment) -> None:
    """What names the others is neither a file nor `ready`: units are restarted when those change."""
    role = _role(env, 0, ["192.0.2.12", "192.0.2.13"])
    assert [
        line
        for line in role.splitlines()
        if "192.0.2.13" in line and not line.startswith(("before", "after"))
    ] == []
    assert "gate /var/lib/jarvis/bin/etcd-member gate\n" in role


def test_a_role_too_large_for_one_command_is_refused_by_name() -> None:
    args = HostServiceArgs(target=Target(server="rack-1", host="192.0.2.1", host_key="ssh-ed25519 AAAA"))
    assert command_text("etcd", "rack-1", args, "x" * 1000).startswith("exec /var/lib/jarvis/bin/apply etcd ")
    with pytest.raises(ValueError, match=r"rack-1: the files of the role etcd take 13\d{4} bytes"):
        command_text("etcd", "rack-1", args, "x" * 131000)


def test_patience_multiplies_what_a_role_waits(env: Environment) -> None:
    """And nothing is different where there is no need of it: a living cloud sees no change."""
    usual, slow = (
        HostServiceArgs(
            target=replace(target(env, env.servers[0]), patience=factor), units=["a.service"], ready="true"
        )
        for factor in (1, 4)
    )
    assert directives(usual) == "unit a.service\nready true\ntimeout 60\n"
    assert directives(slow) == "unit a.service\nready true\ntimeout 240\npatience 4\n"


def test_patience_reaches_every_wait_of_a_server(env: Environment) -> None:
    slow = env.model_copy(update={"patience": 4})
    server = env.servers[0]
    assert target(slow, server).patience == 4
    assert arguments(slow, server) == {**arguments(env, server), "patience": "4"}
    files = {f.path: f.content for f in base.base_files(slow, server, "an id") if isinstance(f, File)}
    added = set(files) - {f.path for f in base.base_files(env, server, "an id")}
    assert added == {"/etc/systemd/system.conf.d/90-jarvis.conf"}
    assert files.pop(*added) == "[Manager]\nDefaultTimeoutStartSec=360\n"


def test_swap_goes_where_a_kubelet_would_not_bear_it(env: Environment) -> None:
    worker, other = env.servers[0], env.servers[0].model_copy(update={"roles": frozenset({ServerRole.ETCD})})
    bears = env.kubernetes.model_copy(update={"kubelet": {"failSwapOn": False}})
    assert without_swap(env, worker)
    assert not without_swap(env, other)
    assert not without_swap(env.model_copy(update={"kubernetes": bears}), worker)
