"""Roles are data: each declaration holds, and one more role is a file and two lines of the catalogue."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import ConfigurationError, environment, parse_environment
from jarvis.config.rotations import secret_names
from jarvis.config.schema import stack_schema
from jarvis.core.text import read_beside
from jarvis.hosts import preflight
from jarvis.hosts.firewall import Rule
from jarvis.roles import BASE, ROLES, HostRole, ServerRole
from jarvis.roles.model import Range, Setting, Source
from tests.unit.fakes import Commands
from tests.unit.test_config import document

PROJECT = Path(__file__).resolve().parents[2]
EVERY = [BASE, *ROLES.values()]
each_role = pytest.mark.parametrize("role", EVERY, ids=[role.name for role in EVERY])


# --- declarations -----------------------------------------------------------------------------------------


def test_every_role_is_declared() -> None:
    assert set(ROLES) == set(ServerRole)
    assert all(name == role.name for name, role in ROLES.items())
    assert "base" not in {*ServerRole}


@each_role
def test_a_declaration_names_what_there_is(role: HostRole) -> None:
    env = parse_environment(document("dev")["config"]["jarvis:environment"], "dev")
    names = {*role.needs}
    settings = {*role.memory}
    for one in role.listens:
        names |= {*one.also_on}
        names |= {each for each in (one.opening.sources if one.opening else ()) if isinstance(each, str)}
        settings |= {each for each in one.ports if isinstance(each, Setting)}
    assert names <= {*ServerRole}
    assert all(env.number(each) > 0 for each in settings)
    assert {*role.held} <= {*secret_names(env)}


def test_no_two_roles_declare_the_same() -> None:
    for one, other in combinations(EVERY, 2):
        assert not {*one.secrets} & {*other.secrets}
        assert not {*one.server_secrets} & {*other.server_secrets}
        assert not {each.name for each in one.users} & {each.name for each in other.users}
        assert not {each.name for each in one.sysctls} & {each.name for each in other.sysctls}


def test_ports_of_two_roles_are_one_only_for_the_api() -> None:
    """Either an API server has it, or the proxy of a gateway without one."""
    twice = set()
    for one, other in combinations(EVERY, 2):
        twice |= ports(one) & ports(other)
    assert twice == {("tcp", 6443)}


def ports(role: HostRole) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for one in role.listens:
        for port in one.ports:
            if not isinstance(port, Setting):
                first, last = port if isinstance(port, Range) else (port, port)
                found |= {(one.protocol, number) for number in range(first, last + 1)}
    return found


def test_what_is_open_to_everyone() -> None:
    """A port that joins these is seen here."""
    found = {
        (role.name, one.opening.use)
        for role in EVERY
        for one in role.listens
        if one.opening and Source.EVERYONE in one.opening.sources
    }
    assert found == {
        ("control-plane", "Kubernetes API"),
        ("gateway", "Kubernetes API"),
        ("gateway", "HTTP gateway"),
    }


def test_editors_know_the_roles() -> None:
    assert stack_schema()["$defs"]["ServerRole"]["enum"] == [role.value for role in ServerRole]


def test_the_readme_has_the_roles_and_says_which_need_a_quorum() -> None:
    (row,) = [
        line for line in (PROJECT / "README.md").read_text().splitlines() if "`servers[].roles`" in line
    ]
    cell = row.split("|")[2]
    assert set(re.findall(r"`([a-z-]+)`", cell)) == {*ServerRole}
    quorum = {name for name, role in ROLES.items() if role.quorum}
    assert set(re.findall(r"`([a-z-]+)` \(1, 3 or 5\)", cell)) == quorum


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (
            Rule(use="tunnels", ports=[6081], sources=["192.0.2.1", "192.0.2.2"], protocol="udp"),
            'ip saddr { 192.0.2.1, 192.0.2.2 } udp dport { 6081 } accept comment "tunnels"',
        ),
        (
            Rule(use="names", ports=[53, "6800-7300"], sources=None, protocol="udp"),
            'udp dport { 53, 6800-7300 } accept comment "names"',
        ),
        (Rule(use="a", ports=[1], sources=None), 'tcp dport { 1 } accept comment "a"'),
        (Rule(use="nobody", ports=[1], sources=[], protocol="udp"), ""),
    ],
)
def test_rules_of_tcp_and_of_udp(rule: Rule, line: str) -> None:
    assert rule.line() == line


# --- one role more ----------------------------------------------------------------------------------------

INVENTED = '''
"""A role that no cloud has."""

from jarvis.roles.model import HostRole, Listens, Opening, Pinned, Sysctl, User

ROLE = HostRole(
    name="edge",
    needs=("worker",),
    packages=("socat", Pinned("openvswitch-switch", "3.1.")),
    users=(User(name="edge", home="/var/lib/edge"),),
    modules=("geneve",),
    sysctls=(Sysctl(name="net.core.rmem_max", value="8388608", why="tunnels lose packets"),),
    listens=(
        Listens(
            whose="the tunnels",
            ports=(6081,),
            protocol="udp",
            opening=Opening(use="tunnels", sources=("edge",)),
        ),
        Listens(whose="the edge", ports=(6642,), opening=Opening(use="edge", sources=("edge", "worker"))),
    ),
    secrets=("edge-authority",),
    server_secrets=("edge",),
    held=("edge-authority",),
)
'''


def copy_with(folder: Path, role: str) -> Path:
    """A copy of Jarvis in ``folder`` with the role ``INVENTED``: its file, and lines of the catalogue."""
    shutil.copytree(PROJECT / "jarvis", folder / "jarvis", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("stacks", "tests", "images", "toolchain"):
        (folder / name).symlink_to(PROJECT / name)
    for file in PROJECT.glob("Pulumi.*yaml"):
        (folder / file.name).symlink_to(file)
    (folder / f"jarvis/roles/{role}.py").write_text(INVENTED)
    catalogue = folder / "jarvis/roles/catalogue.py"
    text = catalogue.read_text()
    for before, added in (
        ("from jarvis.roles import ", f"{role}, "),
        ('    GATEWAY = "gateway"\n', f'    {role.upper()} = "{role}"\n'),
        ("            storage.ROLE,\n", f"            {role}.ROLE,\n"),
    ):
        assert text.count(before) == 1
        text = text.replace(before, before + added)
    catalogue.write_text(text)
    return folder


def facts(project: Path, folder: Path, *roles: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-B", "-m", "tests.unit.role_facts", str(folder), *roles],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "JARVIS_TODAY": "2026-11-23"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="module")
def now(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What follows from the roles that there are."""
    return facts(PROJECT, tmp_path_factory.mktemp("now"))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same where there is one role more, and what follows of that where two servers have it."""
    copy = copy_with(tmp_path_factory.mktemp("copy"), "edge")
    return facts(copy, tmp_path_factory.mktemp("more"), "edge")


def test_a_new_role_changes_nothing_of_a_cloud_that_does_not_use_it(
    now: dict[str, Any], more: dict[str, Any]
) -> None:
    assert more["schema"] == [*now["schema"], "edge"]
    for stack, resources in now["stacks"].items():
        assert len(resources) > 100
        assert more["stacks"][stack] == resources
        assert more["edges"][stack] == now["edges"][stack]
    assert more["secrets"] == now["secrets"]


def test_servers_with_the_new_role_have_what_it_declares(more: dict[str, Any]) -> None:
    one, other, without = more["servers"].values()
    for server in (one, other):
        assert {"socat", "openvswitch-switch", "haproxy"} <= {*server["packages"]}
        assert 'u edge - "Jarvis edge" /var/lib/edge /usr/sbin/nologin\n' in server["users"]
        assert server["modules"][-1] == "geneve"
        assert "net.core.rmem_max = 8388608" in server["sysctls"]
        assert "edge-authority" in server["held"]
        rules = [line.strip() for line in server["rules"]]
        assert 'ip saddr { 10.88.0.11, 10.88.0.12 } udp dport { 6081 } accept comment "tunnels"' in rules
        everyone = "10.88.0.11, 10.88.0.12, 10.88.0.13"
        assert f'ip saddr {{ {everyone} }} tcp dport {{ 6642 }} accept comment "edge"' in rules
    assert not [word for word in ("edge", "openvswitch", "geneve", "6081", "rmem") if word in str(without)]


def test_its_packages_are_pinned_and_asked_for_by_preflight(more: dict[str, Any]) -> None:
    one, _, without = more["servers"].values()
    assert one["apt"] == (
        "Package: openvswitch-switch\nPin: version 3.1.*\nPin-Priority: 990\n\n"
        "Package: openvswitch-switch\nPin: version *\nPin-Priority: -1\n"
    )
    assert "/etc/apt/preferences.d/90-jarvis.pref" in more["with"]["command:remote:Command jarvis-1-base"]
    assert one["asked"] == {
        "environment": "dev",
        "server": "jarvis-1",
        "packages": "openvswitch-switch=3.1.",
        "modules": "geneve",
        "udp_ports": "6081",
    }
    assert (without["apt"], without["asked"]) == ("", {})
    checks = [label for label in sorted(more["with"]) if label.endswith("-preflight-roles")]
    assert checks == [f"command:remote:Command jarvis-{n}-preflight-roles" for n in (1, 2)]
    assert {*checks} <= {*more["preflight"]}
    asked = more["with"]["command:remote:Command jarvis-1-preflight"]
    assert "openvswitch-switch" in asked
    assert ",6642," in asked
    assert "6081" not in asked


@pytest.mark.parametrize(
    ("version", "priority"),
    [("3.1.0-2+deb12u1", "990"), ("3.10.0-1", "-1"), ("2.17.9-1", "-1"), ("1:3.1.0-2", "-1")],
)
def test_apt_reads_the_pins_so(more: dict[str, Any], tmp_path: Path, version: str, priority: str) -> None:
    """APT itself is asked, with nothing of this machine's."""
    for folder in ("lists/partial", "preferences.d", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "preferences.d/90-jarvis.pref").write_text(more["servers"]["jarvis-1"]["apt"])
    (tmp_path / "status").write_text(
        "Package: openvswitch-switch\nStatus: install ok installed\nArchitecture: all\n"
        f"Maintainer: a <a@example.org>\nVersion: {version}\nDescription: a\n"
    )
    paths = {
        "Cache": ".",
        "State::lists": "lists",
        "State::status": "status",
        "Etc::preferences": "none",
        "Etc::preferencesparts": "preferences.d",
        "Etc::sourcelist": "none",
        "Etc::sourceparts": "empty",
    }
    options = [f"-oDir::{name}={tmp_path / path}" for name, path in paths.items()]
    run = subprocess.run(
        ["apt-cache", *options, "policy", "openvswitch-switch"], capture_output=True, text=True, check=True
    )
    assert f"*** {version} {priority}\n" in run.stdout, run.stdout + run.stderr


def test_only_what_the_role_is_about_changes_on_other_servers(
    now: dict[str, Any], more: dict[str, Any]
) -> None:
    before, after = now["stacks"]["dev"], more["with"]
    changed = {
        label.partition(" ")[2]
        for label in {*before, *after}
        if "jarvis-3" in label and before.get(label) != after.get(label)
    }
    # The label of the role is taken from nodes that do not have it.
    assert changed == {"jarvis-3-node-kubelet"}


def test_mistakes_about_it_are_told(more: dict[str, Any]) -> None:
    assert more["port"] == [], "a port of TCP is free beside the same one of UDP"
    assert "  servers[0].roles: jarvis-1 has the role edge and so needs the role worker" in more["alone"]
    assert [line.split(": ", 1)[0].strip() for line in more["sysctl"]] == [
        f"servers[{n}].sysctls.net.core.rmem_max" for n in (0, 1)
    ]
    assert "tunnels lose packets: it is 8388608 on servers with this one's roles" in more["sysctl"][0]


def test_it_has_counters_where_a_server_has_it(now: dict[str, Any], more: dict[str, Any]) -> None:
    added = ["edge-authority", "edge-jarvis-1", "edge-jarvis-2"]
    assert sorted({*more["with secrets"]} - {*now["secrets"]}) == added


# --- optional roles ---------------------------------------------------------------------------------------


def mistakes(monkeypatch: pytest.MonkeyPatch, role: ServerRole, has: int, lost: int = 0) -> str:
    """What is wrong with ``role``, not required, where ``has`` servers have it and the first are lost."""
    roles = {**ROLES, role: replace(ROLES[role], required=False)}
    monkeypatch.setattr(environment, "ROLES", roles)
    values = document("dev")["config"]["jarvis:environment"]
    for at, server in enumerate(values["servers"]):
        server["roles"] = [name for name in server["roles"] if name != role or at < has]
    for server in values["servers"][:lost]:
        server["lost"] = True
    try:
        parse_environment(values, "x")
    except ConfigurationError as error:
        return "\n".join(line for line in str(error).splitlines() if f"the role {role}" in line)
    return ""


@pytest.mark.parametrize("role", [ServerRole.QUEUE, ServerRole.REGISTRY])
def test_nobody_need_have_a_role_that_is_not_required(
    monkeypatch: pytest.MonkeyPatch, role: ServerRole
) -> None:
    assert mistakes(monkeypatch, role, 0) == ""
    assert mistakes(monkeypatch, role, 1) == ""


def test_all_servers_of_a_role_that_is_not_required_may_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistakes(monkeypatch, ServerRole.REGISTRY, 1, lost=1) == ""


def test_a_quorum_is_one_for_a_role_that_is_not_required_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0 of 1 servers with the role queue are left" in mistakes(monkeypatch, ServerRole.QUEUE, 1, lost=1)
    assert "an even number adds no safety" in mistakes(monkeypatch, ServerRole.QUEUE, 2)


# --- preflight-roles.sh -----------------------------------------------------------------------------------

APT = """case $2 in
  dpkg) echo "      dpkg | 1.21.22 | http://deb.debian.org/debian bookworm/main amd64 Packages" ;;
  openvswitch-switch)
    echo "openvswitch-switch | 3.1.0-2 | http://deb.debian.org/debian bookworm/main amd64 Packages"
    echo "openvswitch-switch | 3.10.0-1 | http://example.org/debian bookworm/main amd64 Packages" ;;
esac"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Of a server that is fit."""
    found = Commands(tmp_path / "bin")
    found.add("apt-cache", APT)
    found.say("dpkg-query", "", 1)
    found.say("modprobe", "")
    found.say("ss", 'UNCONN 0 0 0.0.0.0:68 0.0.0.0:* users:(("dhclient",pid=1,fd=3))\n')
    return found


def check(commands: Commands, root: Path, **asked: str) -> list[str]:
    """The list of failures."""
    given = {"packages": "openvswitch-switch=3.1.", "modules": "geneve", "udp_ports": "6081,4789", **asked}
    words = [
        f"{key}={value}" for key, value in {"environment": "dev", "server": "s1", **given}.items() if value
    ]
    root.mkdir(exist_ok=True)
    before = sorted(root.rglob("*"))
    run = subprocess.run(
        ["bash", "-s", "--", *words],
        env={"PATH": f"{commands.folder}:{os.environ['PATH']}", "JARVIS_ROOT": str(root)},
        input=read_beside(preflight.__file__, "preflight-roles.sh"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(root.rglob("*")) == before, "a preflight changes nothing"
    lines = run.stderr.splitlines()
    if run.returncode:
        assert lines[0] == "error: server s1 is not fit for its roles; nothing has been changed there:"
    assert (run.returncode == 0) == (not lines)
    return [line.removeprefix("  - ") for line in lines[1:]]


def test_a_server_that_can_have_its_roles(commands: Commands, tmp_path: Path) -> None:
    assert check(commands, tmp_path / "root") == []


Change = Callable[[Commands, Path], object]
UNFIT: list[tuple[Change, str]] = [
    (
        lambda c, _: c.say("dpkg-query", "installed 3.10.0-1"),
        "package: openvswitch-switch is 3.10.0-1 here, and a role needs 3.1.*",
    ),
    (
        lambda c, _: c.add("apt-cache", '[ "$2" != dpkg ] || echo "dpkg | 1.21.22 | x"'),
        "package: a role needs openvswitch-switch 3.1.*, and APT has none (apt-get update",
    ),
    (
        lambda c, _: c.add("apt-cache", 'echo "$2 | 3.10.0-1 | x"; echo "$2 | 2.17.1-1 | y"'),
        "package: a role needs openvswitch-switch 3.1.*, and APT has 3.10.0-1 2.17.1-1 (",
    ),
    (lambda c, _: c.say("modprobe", "", 1), "kernel: geneve is missing"),
    (
        lambda c, _: c.say("ss", 'UNCONN 0 0 [::]:4789 [::]:* users:(("flanneld",pid=7,fd=3))\n'),
        'port: 4789 of UDP is in use by "flanneld"',
    ),
]


@pytest.mark.parametrize(("change", "said"), UNFIT, ids=[said for _, said in UNFIT])
def test_each_mistake_is_told(commands: Commands, tmp_path: Path, change: Change, said: str) -> None:
    change(commands, tmp_path)
    (found,) = check(commands, tmp_path / "root")
    assert found.startswith(said)


def test_all_mistakes_are_told_at_once(commands: Commands, tmp_path: Path) -> None:
    for change, _ in UNFIT[2:]:
        change(commands, tmp_path)
    assert len(check(commands, tmp_path / "root")) == len(UNFIT[2:])


@pytest.mark.parametrize("version", ["3.1.0-2+deb12u1", "3.1.9"])
def test_what_is_installed_counts(commands: Commands, tmp_path: Path, version: str) -> None:
    commands.say("dpkg-query", f"installed {version}")
    commands.add("apt-cache")
    assert check(commands, tmp_path / "root") == []


def test_a_package_that_was_removed_is_not_installed(commands: Commands, tmp_path: Path) -> None:
    commands.say("dpkg-query", "config-files 3.10.0-1")
    assert check(commands, tmp_path / "root") == []


def test_where_apt_has_no_lists_yet_nothing_is_known_against_a_package(
    commands: Commands, tmp_path: Path
) -> None:
    commands.add("apt-cache")
    assert check(commands, tmp_path / "root") == []


def test_a_module_that_is_at_work_need_not_be_found(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "root/sys/module/geneve").mkdir(parents=True)
    commands.say("modprobe", "", 1)
    assert check(commands, tmp_path / "root") == []


@pytest.mark.parametrize(("mark", "failures"), [("dev s1", 0), ("dev s2", 1), ("other s1", 1)])
def test_ports_of_a_server_that_has_its_roles_are_its_own(
    commands: Commands, tmp_path: Path, mark: str, failures: int
) -> None:
    UNFIT[-1][0](commands, tmp_path)
    file = tmp_path / "root/var/lib/jarvis/cluster"
    file.parent.mkdir(parents=True)
    file.write_text(mark)
    assert len(check(commands, tmp_path / "root")) == failures


def test_only_what_is_asked_for_is_looked_at(commands: Commands, tmp_path: Path) -> None:
    assert check(commands, tmp_path / "root", packages="", modules="", udp_ports="6081") == []
    assert {call.split()[0] for call in commands.calls()} == {"ss"}
