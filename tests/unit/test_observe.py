"""observe.sh: what is another than what apply.sh and its commands have written down, in words."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.fakes import FILES, Commands
from tests.unit.test_apply import Role

OBSERVE = "../drift/observe.sh"
AT = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
# `systemctl show` of units that run, but for those that have a file of their own.
SYSTEMCTL = """
[ "$1" = show ] || exit 0
shift 4
for unit in "$@"; do
  cat "$(dirname "$0")/$unit" 2>/dev/null || echo "ActiveState=active"
  echo
done
"""
RULES = """table inet jarvis {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 accept comment "SSH"
\t}
}
"""


class Server:
    """A tree with one role, ``web``. systemd, dpkg and nftables are fakes, by which all is well."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.commands = Commands(folder / "bin")
        self.commands.add("systemctl", SYSTEMCTL)
        self.commands.add("dpkg-query", 'shift 3; for name in "$@"; do echo "$name installed"; done')
        self.commands.add("findmnt", "echo rw,relatime")
        self.commands.add("unshare", 'shift 2; FRESH=fresh exec "$@"')
        self.commands.add("nft", '[ "$1" = --file ] || cat "$(dirname "$0")/${FRESH:-live}"')
        for whose in ("fresh", "live"):
            self.rules(whose, RULES)
        self.role = self.root / "var/lib/jarvis/roles/web"
        self.role.mkdir(parents=True)
        self.made()

    def rules(self, whose: str, text: str) -> None:
        (self.commands.folder / whose).write_text(text)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o644)
        return file

    def made(self, *lines: str) -> None:
        """What the role is known to be made of."""
        (self.role / "made").write_text("".join(f"{line}\n" for line in lines))

    def file(self, path: str, text: str, mode: str = "0644") -> Path:
        """A file of the role, as it was deployed."""
        file = self.write(path, text)
        file.chmod(int(mode, 8))
        digest = hashlib.sha256(text.encode()).hexdigest()
        with (self.role / "made").open("a") as stream:
            stream.write(f"file {mode} root:root {digest} {path}\n")
        return file

    def unit(self, name: str, *facts: str) -> None:
        """What systemd says of a unit."""
        (self.commands.folder / name).write_text("".join(f"{fact}\n" for fact in facts))

    def roles(self) -> dict[str, list[str]]:
        done = self.commands.run(OBSERVE, root=self.root)
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, list[str]] = json.loads(done.stdout)["roles"]
        return found

    def findings(self) -> list[str]:
        return self.roles()["web"]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    if os.getuid() != 0:
        pytest.fail("files are given to owners: run these tests as root")
    return Server(tmp_path)


def test_a_server_without_jarvis_has_no_roles(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "bin")
    done = commands.run(OBSERVE, root=tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"roles": {}})


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda path: path.write_text("another"), f"edited {AT}"),
        (lambda path: path.unlink(), "removed"),
        (lambda path: path.chmod(0o666), "mode 0666 and not 0640"),
        (lambda path: os.chown(path, 1, 2), "owner daemon:bin and not root:root"),
        (
            lambda path: (path.write_text(""), path.chmod(0o600)),
            f"edited {AT}, mode 0600 and not 0640",
        ),
        (
            lambda path: (path.rename(f"{path}.old"), path.symlink_to(f"{path}.old")),
            f"a symbolic link since {AT}, and no file",
        ),
    ],
)
def test_a_file_that_somebody_changed_is_told(server: Server, change: Change, finding: str) -> None:
    path = server.file("/etc/foo.conf", "text\n", "0640")
    server.file("/etc/other.conf", "")
    assert server.findings() == []
    change(path)
    [found] = server.findings()
    assert re.fullmatch(f"/etc/foo.conf: {finding}", found)


def test_of_a_secret_file_its_name_is_told(server: Server) -> None:
    server.file("/etc/key", "password one\n", "0400").write_text("password two\n")
    done = server.commands.run(OBSERVE, root=server.root)
    assert "/etc/key: edited" in done.stdout
    assert "password" not in done.stdout
    assert not re.search("[0-9a-f]{64}", done.stdout)


def test_folders_are_there_with_their_rights(server: Server) -> None:
    for name in ("a", "b", "c"):
        (server.root / name).mkdir(mode=0o700)
    server.made("dir 0700 root:root /a", "data 0700 root:root /b", "dir 0700 root:root /c")
    assert server.findings() == []
    (server.root / "a").chmod(0o777)
    os.chown(server.root / "b", 1, 1)
    (server.root / "c").rmdir()
    assert server.findings() == [
        "/a: mode 0777 and not 0700",
        "/b: owner daemon:daemon and not root:root",
        "/c: removed",
    ]


def test_units_run_and_will_run(server: Server) -> None:
    names = ["fine", "starting", "stopped", "failed", "disabled", "masked", "static"]
    server.made(*(f"unit {name}.service" for name in names))
    assert server.findings() == []
    server.unit("starting.service", "ActiveState=activating", "UnitFileState=enabled")
    server.unit("stopped.service", "ActiveState=inactive", "InactiveEnterTimestamp=@1700000000")
    server.unit("failed.service", "ActiveState=failed", "InactiveEnterTimestamp=")
    server.unit("disabled.service", "ActiveState=active", "UnitFileState=disabled")
    server.unit("masked.service", "ActiveState=inactive", "UnitFileState=masked-runtime")
    server.unit("static.service", "ActiveState=active", "UnitFileState=static")
    assert server.findings() == [
        "stopped.service: stopped 2023-11-14 22:13 UTC",
        "failed.service: failed",
        "disabled.service: disabled",
        "masked.service: stopped, masked",
    ]
    assert len(server.commands.calls("systemctl")) == 2


def test_a_systemd_that_does_not_answer_is_no_server_where_all_is_well(server: Server) -> None:
    server.made("unit web.service")
    server.commands.say("systemctl", "", 1)
    server.commands.say("hostname", "jarvis-1")
    done = server.commands.run(OBSERVE, root=server.root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: jarvis-1: systemd does not answer (systemctl status)\n"


def test_packages_and_modules_are_there(server: Server) -> None:
    server.made("package jq", "package haproxy", "module overlay", "module br_netfilter")
    for name in ("overlay", "br_netfilter"):
        (server.root / "sys/module" / name).mkdir(parents=True)
    assert server.findings() == []
    server.commands.say("dpkg-query", "jq installed\nhaproxy config-files\n", 1)
    (server.root / "sys/module/br_netfilter").rmdir()
    assert server.findings() == [
        "package haproxy: not installed",
        "kernel module br_netfilter: not loaded",
    ]


def test_kernel_settings_are_as_in_their_file(server: Server) -> None:
    server.made()
    text = "fs.nr_open = 20\nnet.ipv4.ip_forward = 1\nnet.ipv4.tcp_rmem = 1 2 3\n"
    server.file("/etc/sysctl.d/90-jarvis.conf", text)
    with (server.role / "made").open("a") as stream:
        stream.write("sysctls /etc/sysctl.d/90-jarvis.conf\n")
    server.write("proc/sys/fs/nr_open", "30\n")
    server.write("proc/sys/net/ipv4/ip_forward", "1\n")
    server.write("proc/sys/net/ipv4/tcp_rmem", "1\t2\t3\n")
    assert server.findings() == []
    server.write("proc/sys/fs/nr_open", "10\n")
    server.write("proc/sys/net/ipv4/ip_forward", "0\n")
    (server.root / "proc/sys/net/ipv4/tcp_rmem").unlink()
    assert server.findings() == [
        "fs.nr_open is 10, not 20",
        "net.ipv4.ip_forward is 0, not 1",
        "net.ipv4.tcp_rmem is not there, not 1 2 3",
    ]
    # A limit of the machine beneath.
    server.commands.add("findmnt", "echo ro,nosuid")
    assert len(server.findings()) == 2
    # What follows from a file that somebody edited is told once it is right again.
    (server.root / "etc/sysctl.d/90-jarvis.conf").write_text("net.ipv4.ip_forward = 7\n")
    [found] = server.findings()
    assert found.startswith("/etc/sysctl.d/90-jarvis.conf: edited")


def test_names_of_the_servers_stand_in_hosts(server: Server) -> None:
    server.file("/var/lib/jarvis/hosts", "192.0.2.1 s1\n192.0.2.2 s2\n")
    with (server.role / "made").open("a") as stream:
        stream.write("hosts /var/lib/jarvis/hosts\n")
    begin, end = "# begin: written by Jarvis, lost at its next change", "# end: written by Jarvis"
    server.write("etc/hosts", f"127.0.0.1 localhost\n{begin}\n192.0.2.1 s1\n192.0.2.2 s2\n{end}\n::1 me\n")
    assert server.findings() == []
    server.write("etc/hosts", f"192.0.2.2 s2\n{begin}\n192.0.2.1 s1\n192.0.2.9 s2\n{end}\n")
    assert server.findings() == ["/etc/hosts: without the line 192.0.2.2 s2"]


def test_another_release_and_what_was_started_from_it(server: Server) -> None:
    other, wanted = "1" * 64, "2" * 64
    link = server.root / "var/lib/extensions/jarvis.raw"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"/var/lib/jarvis/releases/{wanted}.raw")
    merged = server.write("usr/lib/extension-release.d/extension-release.jarvis", "")
    server.made("unit old.service", "unit new.service", f"input {wanted}")
    server.unit("old.service", "ActiveState=active", "StateChangeTimestamp=@1700000000")
    server.unit("new.service", "ActiveState=active", "StateChangeTimestamp=@99999999999")
    release = server.role.parent / "release"
    release.mkdir()
    (release / "made").write_text(f"release {wanted}\n")
    assert server.roles() == {"release": [], "web": []}
    merged.unlink()
    assert server.roles() == {"release": ["host release: not merged"], "web": []}
    link.unlink()
    link.symlink_to(f"/var/lib/jarvis/releases/{other}.raw")
    roles = server.roles()
    [found] = roles["release"]
    assert re.fullmatch(f"host release: switched to 1{{12}} {AT}, deployed is 2{{12}}", found)
    [found] = roles["web"]
    assert found.startswith("new.service: started from another host release ")
    link.unlink()
    assert server.roles()["release"] == ["host release: 222222222222 is not there"]


@pytest.mark.parametrize(
    ("live", "finding"),
    [
        (
            RULES.replace("\t\ttcp", "\t\ttcp dport 9 accept\n\t\ttcp", 1),
            "somebody's rule: tcp dport 9 accept",
        ),
        (
            RULES.replace('\t\ttcp dport 22 accept comment "SSH"\n', ""),
            'without the rule: tcp dport 22 accept comment "SSH"',
        ),
        (
            RULES.removesuffix("}\n") + "\n\tchain other {\n\t}\n}\n",
            "somebody's rule: chain other {",
        ),
        (RULES, ""),
    ],
)
def test_rules_at_work_are_those_of_their_file(server: Server, live: str, finding: str) -> None:
    server.made("nft inet jarvis /etc/jarvis/firewall.nft")
    server.rules("live", live)
    assert server.findings() == ([f"nft table inet jarvis: {finding}"] if finding else [])


def test_no_rules_at_all(server: Server) -> None:
    server.made("nft inet jarvis /etc/jarvis/firewall.nft")
    (server.commands.folder / "live").unlink()
    assert server.findings() == ["nft table inet jarvis: gone"]
    # Where rules cannot be compared nothing is told.
    server.commands.say("unshare", "", 1)
    assert server.findings() == []


def test_swap_stays_masked(server: Server) -> None:
    server.made("masked swap.target")
    server.unit("swap.target", "ActiveState=inactive", "UnitFileState=masked")
    assert server.findings() == []
    server.unit("swap.target", "ActiveState=inactive", "UnitFileState=static")
    assert server.findings() == ["swap.target: not masked any more"]


def test_what_applies_roles_is_the_copy_that_came(server: Server) -> None:
    server.write("var/lib/jarvis-scripts/apply.sh", "script\n")
    tool = server.write("var/lib/jarvis/bin/apply", "script\n")
    tool.chmod(0o755)
    assert server.roles() == {"web": [], "apply": []}
    tool.write_text("another\n")
    [found] = server.roles()["apply"]
    assert re.fullmatch(f"/var/lib/jarvis/bin/apply: edited {AT}", found)


def test_of_a_role_that_was_applied_before_there_were_lists_nothing_is_guessed(server: Server) -> None:
    (server.role / "made").unlink()
    path = server.write("/etc/foo.conf", "text")
    (server.role / "files").write_text("/etc/foo.conf\n/etc\n")
    (server.role / "units").write_text("web.service\n\n")
    path.chmod(0o600)
    assert server.findings() == []
    path.unlink()
    server.unit("web.service", "ActiveState=failed", "UnitFileState=enabled")
    assert server.findings() == ["/etc/foo.conf: removed", "web.service: failed"]


def look(role: Role) -> list[str]:
    """What is found of what apply.sh itself wrote down."""
    done = role.commands.run(OBSERVE, root=Path(), JARVIS_ROOT="", JARVIS_BASE=str(role.base))
    assert (done.returncode, done.stderr) == (0, "")
    found: list[str] = json.loads(done.stdout)["roles"]["web"]
    return found


@pytest.fixture
def role(tmp_path: Path) -> Role:
    tmp_path.chmod(0o755)
    made = Role(tmp_path)
    made.commands.add("systemctl", SYSTEMCTL)
    return made


def test_what_was_applied_is_found_as_it_is(role: Role) -> None:
    data = role.etc / "data"
    role.extra = f"dir 0750 root:daemon {role.etc}/private\nunit web.service\ninput 1\npurge {data}\n"
    role.extra += f"before mkdir -p -m 0711 {data}\nafter echo package jq >>$JARVIS_MADE\n"
    role.commands.add("dpkg-query", "echo jq not-installed")
    conf, key = role.file("conf", "a\n\nb"), role.file("key", "", mode="0400", owner="daemon:daemon")
    role.apply()
    assert look(role) == ["package jq: not installed"]
    conf.write_text("other\n")
    key.chmod(0o444)
    data.chmod(0o777)
    (role.etc / "private").chmod(0o777)
    assert len(look(role)) == 5
    role.extra += "seen 1: somebody was here\n"
    role.apply()
    assert look(role) == ["package jq: not installed"]
    assert f"{data.stat().st_mode & 0o777:o}" == "711"


def test_a_run_that_was_cut_off_is_told_and_nothing_else(role: Role) -> None:
    path = role.file("conf", "one")
    role.apply()
    role.file("conf", "two")
    role.extra = "after false\n"
    for _ in range(2):
        assert role.run().returncode == 1
        assert path.read_text() == "two\n"
        assert look(role) == ["applied in part: the last run did not come to its end"]
    role.extra = ""
    role.apply()
    assert look(role) == []


def test_it_may_be_sent_by_standard_input(server: Server) -> None:
    server.file("/etc/foo.conf", "text\n").unlink()
    script = (FILES / OBSERVE).read_text()
    done = subprocess.run(
        ["bash", "-s"],
        input=script,
        env={
            "PATH": f"{server.commands.folder}:{os.environ['PATH']}",
            "JARVIS_ROOT": str(server.root),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["roles"] == {"web": ["/etc/foo.conf: removed"]}
