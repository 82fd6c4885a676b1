"""A server as Debian's installer leaves it: the first `up` succeeds, and all comes back after each loss."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from deployment import ROOT, Cloud, lab, wait_until

# Limits of waiting, not measures.
MINUTES = 60
HOUR = 60 * MINUTES


def test_the_server_is_as_the_installer_leaves_it(bare: Cloud) -> None:
    (server,) = bare.servers
    if bare.attempt_ssh(server, "test -e /var/lib/jarvis/cluster").returncode == 0:
        pytest.fail("this machine was deployed before: run without JARVIS_KEEP_LAB")
    assert f"127.0.1.1\t{server}.lab.internal\t{server}\n" in bare.ssh(server, "cat /etc/hosts")
    assert bare.ssh(server, "swapon --noheadings --show=NAME").split() == ["/dev/vdc"]
    assert bare.ssh(server, "cat /sys/module/apparmor/parameters/enabled").strip() == "Y"
    assert "fe80::" in bare.ssh(server, "ip -6 -o address show dev ens3")
    for unit in ("mariadb", "rabbitmq-server", "haproxy", "unattended-upgrades"):
        assert bare.ssh(server, f"systemctl is-active {unit}").strip() == "active"
    assert bare.ssh(server, "findmnt -no SOURCE /").strip() == "/dev/vda"


def boot(cloud: Cloud) -> str:
    return cloud.attempt_ssh(cloud.servers[0], "cat /proc/sys/kernel/random/boot_id").stdout.strip()


def replayed(cloud: Cloud) -> bool:
    """At the last boot the root's journal was replayed: it had not been unmounted."""
    return "recovery complete" in cloud.ssh(cloud.servers[0], "dmesg --notime | grep 'EXT4-fs (vda)'")


def test_a_bare_server_boots_anew_and_bears_a_loss_of_power(bare: Cloud) -> None:
    (server,) = bare.servers
    before = boot(bare)
    bare.attempt_ssh(server, "systemctl reboot")
    wait_until("it has booted anew", lambda: boot(bare) not in ("", before), HOUR)
    assert not replayed(bare)
    bare.ssh(server, "echo kept >/root/kept && sync")
    lab("power-off", server)
    lab("power-on", server)
    assert replayed(bare)
    assert bare.ssh(server, "cat /root/kept; rm /root/kept") == "kept\n"


def well(cloud: Cloud) -> bool:
    """All is there, seen from outside. What does not answer is not there (yet)."""
    (server,) = cloud.servers
    token = cloud.tool("openstack", "--os-cloud", "jarvis", "token", "issue", check=False)
    images = cloud.tool("openstack", "--os-cloud", "jarvis", "image", "list", check=False)
    ready = cloud.tool(
        "kubectl", "wait", "--for=condition=Ready", f"node/{server}", "--timeout=1s", check=False
    )
    failed = cloud.attempt_ssh(server, "systemctl list-units --failed --plain --no-legend")
    return (
        token.returncode == images.returncode == ready.returncode == failed.returncode == 0
        and not failed.stdout
        and len(cloud.healthy_members(server)) == 1
    )


def nothing_to_do(cloud: Cloud) -> None:
    assert cloud.stack.run("preview").steps() == {}


def test_the_first_up_gives_a_cloud(cloud: Cloud) -> None:
    wait_until("all is there", lambda: well(cloud), 5 * MINUTES)
    nothing_to_do(cloud)


def test_the_storage_is_on_the_second_disk(cloud: Cloud) -> None:
    assert cloud.ssh(cloud.servers[0], "lsblk -no FSTYPE /dev/vdb").strip() == "ceph_bluestore"


def test_swap_is_off(cloud: Cloud) -> None:
    assert cloud.ssh(cloud.servers[0], "swapon --noheadings --show=NAME").strip() == ""


def test_all_is_there_after_a_reboot(cloud: Cloud) -> None:
    before = boot(cloud)
    cloud.attempt_ssh(cloud.servers[0], "systemctl reboot")
    wait_until("it has booted anew", lambda: boot(cloud) not in ("", before), HOUR)
    wait_until("all is there", lambda: well(cloud), HOUR)
    test_swap_is_off(cloud)
    nothing_to_do(cloud)


def test_all_is_there_after_a_loss_of_power(cloud: Cloud) -> None:
    lab("power-off", cloud.servers[0])
    lab("power-on", cloud.servers[0])
    wait_until("all is there", lambda: well(cloud), HOUR)
    nothing_to_do(cloud)


def test_a_release_is_switched(cloud: Cloud, tmp_path: Path) -> None:
    artifacts = json.loads((ROOT / ".jarvis" / "artifacts.json").read_text())
    other, tree = tmp_path / "release.raw", tmp_path / "tree"
    subprocess.run(["unsquashfs", "-quiet", "-d", str(tree), artifacts["release"]["path"]], check=True)
    (tree / "usr" / "share" / "jarvis-trial").mkdir(parents=True)
    words = ["-quiet", "-no-progress", "-comp", "zstd", "-Xcompression-level", "1", "-all-root"]
    subprocess.run(["mksquashfs", str(tree), str(other), *words], check=True)
    digest = subprocess.run(
        ["sha256sum", str(other)], check=True, capture_output=True, text=True
    ).stdout.split()[0]
    artifacts["release"] |= {"path": str(other), "sha256": digest, "size": other.stat().st_size}
    listed = tmp_path / "artifacts.json"
    listed.write_text(json.dumps(artifacts))
    cloud.stack.variables = {"JARVIS_ARTIFACTS": str(listed)}
    try:
        cloud.stack.up()
        assert cloud.ssh(cloud.servers[0], "ls -d /usr/share/jarvis-trial").strip()
        wait_until("all is there", lambda: well(cloud), 5 * MINUTES)
    finally:
        cloud.stack.variables = {}
    cloud.stack.up()
    assert cloud.attempt_ssh(cloud.servers[0], "ls -d /usr/share/jarvis-trial").returncode != 0
    wait_until("all is there", lambda: well(cloud), HOUR)
