"""A lab as its users see it: what a server is, and what each verb does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from lab_cli import Lab

ONE = "labtool-1"


def test_a_server_is_a_server(lab: Lab) -> None:
    about = lab.status()[ONE]
    assert about["state"] == "running"
    assert about["failed_units"] == []
    assert about["address"] == "10.99.251.11"
    assert about["memory_cap_bytes"] == 1 << 30
    assert 0 < about["memory_bytes"] < 1 << 30

    assert lab.ssh(ONE, "ps -o comm= -p 1").strip() == "systemd"
    assert lab.ssh(ONE, "hostname").strip() == ONE
    # As an installer leaves it: whoever asks a server for its own name gets what nobody else reaches.
    assert lab.ssh(ONE, f"getent ahostsv4 {ONE} | head -n1 | cut -d' ' -f1").strip() == "127.0.1.1"
    assert lab.ssh(ONE, "findmnt -no FSTYPE /var").strip() == "ext4"
    assert 3.5e9 < int(lab.ssh(ONE, "findmnt -bno SIZE /var")) < 4.3e9
    assert lab.ssh(ONE, "readlink -f /etc/resolv.conf").strip() == "/run/systemd/resolve/stub-resolv.conf"
    # What Debian's packages start where an operator has installed them.
    for unit in ("haproxy", "mariadb", "rabbitmq-server"):
        assert lab.ssh(ONE, f"systemctl is-enabled {unit}; systemctl is-active {unit}").split() == [
            "enabled",
            "active",
        ]
    for setting in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        assert lab.ssh(ONE, f"cat /proc/sys/{setting}").strip() == "1"


def test_a_server_does_not_reach_the_machine_beneath(lab: Lab) -> None:
    # The first is the machine's; the second is a file of the server's own that a kubelet is shown instead.
    machine = [Path(f"/proc/sys/vm/{name}") for name in ("swappiness", "overcommit_memory")]
    before = [path.read_text() for path in machine]
    assert lab.call("ssh", ONE, "sysctl -w vm.swappiness=7").returncode != 0
    lab.ssh(ONE, "sysctl -w vm.overcommit_memory=2")
    assert [path.read_text() for path in machine] == before
    bounding = int(lab.ssh(ONE, "awk '/CapBnd/ {print $2}' /proc/self/status"), 16)
    for capability in (16, 22, 25):  # CAP_SYS_MODULE, CAP_SYS_BOOT, CAP_SYS_TIME
        assert not bounding >> capability & 1


def test_a_server_carries_containers(lab: Lab) -> None:
    lab.ssh(
        ONE,
        "set -e; mkdir -p /var/lib/try/l /var/lib/try/u /var/lib/try/w /var/lib/try/m; cd /var/lib/try; "
        "mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; "
        "touch m/here; test -e u/here; umount m; "
        "unshare --net --mount --pid --fork true; nft add table inet try; nft delete table inet try",
    )
    limit = lab.ssh(
        ONE,
        "systemd-run --quiet --wait --pipe -p MemoryMax=50M sh -c '"
        "group=$(sed -n s/.*:memory://p /proc/self/cgroup); "
        'cat "/sys/fs/cgroup/memory$group/memory.limit_in_bytes" 2>/dev/null || '
        'cat "/sys/fs/cgroup$(sed -n s/0:://p /proc/self/cgroup)/memory.max"\'',
    )
    assert int(limit) == 50 << 20


def test_a_server_has_control_groups_of_its_own(lab: Lab) -> None:
    """Of each hierarchy: what a server makes stands below its own group on the machine, and nowhere else."""
    lab.ssh(ONE, "systemd-run --quiet --unit=try --slice=try.slice sleep 60")
    try:
        found = [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if folder.endswith("/try.service")]
    finally:
        lab.ssh(ONE, "systemctl stop try.service")
    assert found
    assert [folder for folder in found if f"/{ONE}/" not in folder] == []


def test_the_servers_have_the_processors_first(lab: Lab) -> None:
    weights = {
        int(file.read_text()) / everybody
        for name, everybody in (("cpu.shares", 1024), ("cpu.weight", 100))
        for file in Path("/sys/fs/cgroup").glob(f"**/jarvis-lab/{name}")
    }
    assert weights == {8}


def test_a_release_image_is_merged_and_switched(lab: Lab) -> None:
    make = (
        "set -e; rm -rf /tmp/x; mkdir -p /tmp/x/usr/bin /tmp/x/usr/lib/extension-release.d; "
        "mkdir -p /var/lib/extensions; "
        "echo ID=_any >/tmp/x/usr/lib/extension-release.d/extension-release.hello; "
        "printf '#!/bin/sh\\necho {0}\\n' >/tmp/x/usr/bin/hello; chmod 755 /tmp/x/usr/bin/hello; "
        "mksquashfs /tmp/x /var/lib/{0}.raw -quiet -noappend >/dev/null; "
        "ln -sfn /var/lib/{0}.raw /var/lib/extensions/hello.raw; systemd-sysext refresh >/dev/null 2>&1; "
        # By a unit of PID 1: merged for everything, not only for this session.
        "systemd-run --quiet --wait --pipe hello"
    )
    for word in ("first", "second"):
        assert lab.ssh(ONE, make.format(word)).split() == [word]


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    before = lab.status()[ONE]["pid"]
    memory = (lab.state / "lab.json").read_bytes()
    # The owner is one of the things that can change, so it is said again.
    owner = str(json.loads(memory)["owner"][0])
    assert "nothing changed" in lab.ok("up", "--owner", owner)
    assert lab.status()[ONE]["pid"] == before
    assert (lab.state / "lab.json").read_bytes() == memory


def test_the_configuration_is_plain_and_true(lab: Lab, tmp_path: Path) -> None:
    lab.ok("config", "--output", str(tmp_path / "servers.json"))
    config = json.loads((tmp_path / "servers.json").read_text())
    assert config["network"] == lab.subnet
    assert config["virtual_address"] == "10.99.251.100"
    (server,) = config["servers"]
    assert (server["name"], server["address"], server["user"]) == (ONE, "10.99.251.11", "root")
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", "10.99.251.11"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.split()
    assert " ".join(scanned[1:3]) == server["host_key"]
    key = Path(config["private_key_path"])
    assert key.stat().st_mode & 0o777 == 0o600


def test_pulling_the_plug_and_power_on(lab: Lab) -> None:
    host_key = lab.ok("config")
    boot = lab.ssh(ONE, "cat /etc/machine-id; echo kept >/etc/kept; echo kept >/var/lib/kept; sync")
    lab.ssh(ONE, "logger --tag try marked-before-the-end; journalctl --sync; sync")
    # A loop device of the server's own, which nothing in the kernel frees by itself.
    lab.ssh(ONE, "truncate -s 1M /var/lib/image; sync; losetup --find /var/lib/image")

    lab.ok("power-off", ONE)
    assert lab.status()[ONE]["state"] == "off"
    left = [line for line in lab.traces() if not line.startswith("folder")]
    assert left == ["interface br-labtool"]
    used = subprocess.check_output(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], text=True)
    assert "/lib/image" not in used
    assert "marked-before-the-end" in lab.ok("console", ONE, "-n", "200")
    assert "nothing changed" in lab.ok("power-off", ONE)

    lab.ok("power-on", ONE)
    assert lab.status()[ONE]["state"] == "running"
    assert lab.ssh(ONE, "cat /etc/machine-id /etc/kept /var/lib/kept") == f"{boot}kept\nkept\n"
    assert lab.ok("config") == host_key
    assert "nothing changed" in lab.ok("power-on", ONE)
    assert "sshd" in lab.ok("console", ONE)


def test_a_further_server(lab: Lab) -> None:
    assert "labtool-2" in lab.ok("add")
    servers = {row["name"]: row["address"] for row in json.loads(lab.ok("config"))["servers"]}
    assert servers == {ONE: "10.99.251.11", "labtool-2": "10.99.251.12"}
    greeting = "timeout 10 bash -c 'head -c 4 </dev/tcp/10.99.251.12/22'"
    assert lab.ssh(ONE, greeting) == "SSH-"
    identities = {lab.ssh(name, "cat /etc/machine-id") for name in servers}
    assert len(identities) == 2
    assert "nothing changed" not in lab.ok("power-off", "labtool-2")
    assert "lab: starting labtool-2" in lab.ok("up")
