"""One server: starting it, pulling its plug, asking it how it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shutil
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import image, network, procs
from lab.model import Server, Settings, State, keypair, write
from lab.shell import LabError, run, wait_for

LAUNCH = Path(__file__).resolve().parent / "launch.sh"
CGROUPS = Path("/sys/fs/cgroup")
EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), <uapi/linux/ext4.h>
EXT4_GOING_FLAGS_NOLOGFLUSH = 2  # what was not synced is lost, as when the plug is pulled
LO_GET_STATUS64 = 0x4C05  # <uapi/linux/loop.h>
LO_CLR_FD = 0x4C01
BOOT_LIMIT = 120.0  # seconds; a boot takes about one, on a busy machine several


@dataclass(frozen=True)
class Places:
    """Files and folders of one server on the machine."""

    home: Path
    run_dir: Path

    @property
    def disk(self) -> Path:
        """The server's disk, a sparse file."""
        return self.home / "disk.ext4"

    @property
    def seed(self) -> Path:
        """What goes on the disk at the first boot: host key, machine-id, names, who may log in."""
        return self.home / "seed"

    @property
    def host_key(self) -> Path:
        """Private host key of sshd."""
        return self.seed / "etc/ssh/ssh_host_ed25519_key"


def places(settings: Settings, name: str) -> Places:
    """Where a server's files are."""
    return Places(home=settings.state / "servers" / name, run_dir=settings.run_dir / name)


def cgroup(settings: Settings, name: str) -> str:
    """The control group that holds the whole server, in each hierarchy."""
    return f"/jarvis-lab/{settings.run_dir.name}/{name}"


def prepare(settings: Settings, state: State, server: Server) -> None:
    """Make identity and disk of a server unless they are there; the disk is last: with it all is there."""
    at = places(settings, server.name)
    at.host_key.parent.mkdir(parents=True, exist_ok=True)
    keypair(at.host_key, f"root@{server.name}")
    client = keypair(settings.client_key, f"lab-{settings.name}")
    if at.disk.exists():
        return
    write(at.seed / "etc/machine-id", server.machine_id + "\n", 0o444)
    write(at.seed / "etc/hostname", server.name + "\n", 0o644)
    hosts = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        f"{server.address} {server.name}",
    ]
    write(at.seed / "etc/hosts", "\n".join(hosts) + "\n", 0o644)
    (at.seed / "root/.ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    (at.seed / "root").chmod(0o700)
    write(at.seed / "root/.ssh/authorized_keys", f"{client} lab-{settings.name}\n")
    part = at.disk.with_suffix(".part")
    run(["cp", "--sparse=always", str(image.disk(state.image, state.disk)), str(part)])
    part.rename(at.disk)


def host_key(settings: Settings, server: Server) -> str:
    """The server's public host key, ``ssh-ed25519 AAAA…``."""
    return keypair(places(settings, server.name).host_key, f"root@{server.name}")


def find(settings: Settings, server: Server) -> procs.Box | None:
    """The server's PID 1 if it runs."""
    for box in procs.boxes():
        if (box.lab, box.server, box.state) == (settings.name, server.name, settings.state):
            return box
    return None


def _runtime() -> str:
    """runc where there is one, else crun: both do on cgroup v2, crun refuses the hybrid layout of v1."""
    for name in ("runc", "crun"):
        if shutil.which(name):
            if name == "crun" and not (CGROUPS / "cgroup.controllers").exists():
                raise LabError("this machine has cgroup v1, where crun cannot start servers: install runc")
            return name
    raise LabError("neither runc nor crun is installed: run `make bootstrap` first")


def _limit(which: int, most: int) -> int:
    """The most a process started here may be given, without the right to raise hard limits."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _podman(settings: Settings, name: str) -> list[str]:
    """podman with storage, state and settings of this one server, away from everyone else's."""
    at = places(settings, name)
    root = [
        "--root",
        str(at.home / "podman"),
        "--runroot",
        str(at.run_dir),
        "--tmpdir",
        str(at.run_dir / "tmp"),
    ]
    return [
        "podman",
        *root,
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--runtime",
        _runtime(),
    ]


def _environment(settings: Settings, name: str) -> dict[str, str]:
    """Environment for podman: nothing from the user's configuration of containers."""
    at = places(settings, name)
    conf = at.home / "containers.conf"
    write(conf, '[engine]\nevents_logger = "file"\nlock_type = "file"\n')
    storage = f'[storage]\ndriver = "vfs"\nrunroot = "{at.run_dir}"\ngraphroot = "{at.home / "podman"}"\n'
    write(at.home / "storage.conf", storage)
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TERM") if key in os.environ}
    return keep | {"CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(at.home / "storage.conf")}


def start(settings: Settings, state: State, server: Server) -> None:
    """Power a server on; returns when its PID 1 was started. Clears first what a killed one left behind."""
    at = places(settings, server.name)
    if not image.rootfs(state.image).is_dir():
        raise LabError(
            f"the image {state.image} of lab {settings.name} is gone from the cache: "
            "`python -m lab down` and `python -m lab up` make the lab anew"
        )
    clear(settings, server)
    mount = at.run_dir / "mnt"
    mount.mkdir(mode=0o700, parents=True, exist_ok=True)
    nofile = _limit(resource.RLIMIT_NOFILE, 1048576)
    nproc = _limit(resource.RLIMIT_NPROC, 30000)  # podman itself may have less than our hard limit
    podman = [
        *_podman(settings, server.name),
        "run",
        "--detach",
        "--name",
        server.name,
        "--hostname",
        server.name,
    ]
    podman += ["--privileged", "--systemd=always", "--cgroupns=private", "--network", "ns:/proc/self/ns/net"]
    podman += [
        "--cgroup-parent",
        cgroup(settings, server.name),
        "--memory",
        state.memory,
        "--pids-limit",
        "-1",
    ]
    podman += ["--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}"]
    podman += ["--env", f"{procs.MARK}={procs.mark(settings.name, server.name, settings.state)}"]
    podman += ["--label", f"jarvis-lab={settings.name}", "--dns", "none", "--no-hosts"]
    podman += [
        "--log-driver",
        "k8s-file",
        "--log-opt",
        f"path={at.home / 'console.log'}",
        "--log-opt",
        "max-size=1mb",
    ]
    environment = _environment(settings, server.name) | {
        "LAB_DISK": str(at.disk),
        "LAB_IMAGE": str(image.rootfs(state.image)),
        "LAB_SEED": str(at.seed),
        "LAB_MOUNT": str(mount),
        "LAB_LINK": server.name,
        "LAB_BRIDGE": settings.bridge,
        "LAB_ALIAS": network.alias(settings.state),
        "LAB_ADDRESS": f"{server.address}/{settings.subnet.prefixlen}",
        "LAB_MAC": server.mac,
    }
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        # The launch script finds the machine's namespace at descriptor 3.
        argv = [
            "bash",
            "-c",
            f'exec 3<&{namespace}; exec unshare --mount --net --propagation slave "$@"',
            "launch",
        ]
        try:
            run([*argv, str(LAUNCH), *podman], env=environment, pass_fds=[namespace])
        except LabError as error:
            clear(settings, server)
            raise LabError(f"server {server.name} did not start: {error}") from None
    finally:
        os.close(namespace)


def power_off(settings: Settings, server: Server) -> bool:
    """Pull the plug: all processes end at once, what was not synced is lost. False if it was off."""
    box = find(settings, server)
    if box is not None:
        conmon = procs.parent(box.pid)
        disk = None
        with contextlib.suppress(OSError):
            disk = os.open(f"/proc/{box.pid}/root/var", os.O_RDONLY | os.O_DIRECTORY)
        procs.kill(box.pid)  # the kernel ends everything else in its pid namespace
        if disk is not None:
            with contextlib.suppress(OSError):
                fcntl.ioctl(disk, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))
            os.close(disk)
        if conmon is not None and conmon != 1:
            # It tidies up after the server and ends by itself.
            with contextlib.suppress(LabError):
                wait_for(
                    lambda: procs.birth(conmon) is None or None,
                    limit=10,
                    what="the end of conmon",
                    pause=0.02,
                )
    clear(settings, server)
    return box is not None


def clear(settings: Settings, server: Server) -> None:
    """Remove what a server that is off left here: podman's record, interface, loop devices, groups."""
    at = places(settings, server.name)
    for pid in _group_members(cgroup(settings, server.name)):
        procs.kill(pid)
    if (at.home / "podman").exists():
        environment = _environment(settings, server.name)
        run(
            [*_podman(settings, server.name), "rm", "--force", "--time", "0", server.name],
            env=environment,
            check=False,
        )
    for folder in (at.home / "podman", at.run_dir):
        shutil.rmtree(folder, ignore_errors=True)
    network.remove_one(server.name, settings.state)
    if at.disk.exists():
        release_loops(at.disk)
    remove_groups(cgroup(settings, server.name))


def _group_members(path: str) -> set[int]:
    """Processes in a control group and those below it, in whatever hierarchy."""
    found: set[int] = set()
    for base in [CGROUPS, *CGROUPS.iterdir()]:
        root = base / path.lstrip("/")
        if root.is_dir():
            for file in [root / "cgroup.procs", *root.rglob("cgroup.procs")]:
                with contextlib.suppress(OSError):
                    found |= {int(line) for line in file.read_text().split()}
    return {pid for pid in found if pid > 0 and procs.birth(pid) is not None}


def remove_groups(path: str) -> None:
    """Remove an empty control group and those below it; one that is still in use stays."""
    for base in [CGROUPS, *CGROUPS.iterdir()]:
        root = base / path.lstrip("/")
        if root.is_dir():
            for folder, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            for above in root.relative_to(base).parents:
                if above.name:
                    with contextlib.suppress(OSError):
                        os.rmdir(base / above)


def _loops() -> list[tuple[str, int, int, tuple[int, int]]]:
    """Loop devices in use: name, device and inode of the file behind, own device number."""
    found = []
    for folder in Path("/sys/block").glob("loop*"):
        if not (folder / "loop").is_dir():
            continue
        try:
            handle = os.open(f"/dev/{folder.name}", os.O_RDONLY)
        except OSError:
            continue
        try:
            status = fcntl.ioctl(handle, LO_GET_STATUS64, bytes(232))
        except OSError:
            continue
        finally:
            os.close(handle)
        device, inode = struct.unpack_from("QQ", status)
        major, minor = (folder / "dev").read_text().split(":")
        found.append((folder.name, device, inode, (int(major), int(minor))))
    return found


def release_loops(disk: Path) -> None:
    """Free the loop devices of a server that is off: those on its disk, then the disk's own.

    The kernel frees most by itself once the mounts are gone, so this first waits a little for it.
    Raises LabError when one stays in use.
    """
    end = time.monotonic() + 10
    while True:
        loops = _loops()
        about = disk.stat()
        own = [entry for entry in loops if (_plain(entry[1]), entry[2]) == (about.st_dev, about.st_ino)]
        numbers = {os.makedev(*entry[3]) for entry in own}
        inner = [entry for entry in loops if _plain(entry[1]) in numbers]
        if not own:
            return
        for name, *_ in [*inner, *own]:
            with contextlib.suppress(OSError):
                handle = os.open(f"/dev/{name}", os.O_RDONLY)
                with contextlib.suppress(OSError):
                    fcntl.ioctl(handle, LO_CLR_FD)
                os.close(handle)
        if time.monotonic() > end:
            raise LabError(f"{disk} is still in use by /dev/{own[0][0]}: see `losetup --list` and `lsblk`")
        time.sleep(0.05)


def _plain(number: int) -> int:
    """A device number as the loop driver reports it (huge_encode_dev), as os.stat gives it."""
    return os.makedev((number & 0xFFF00) >> 8, (number & 0xFF) | ((number >> 12) & 0xFFF00))


def inside(box: procs.Box, argv: Sequence[str], *, timeout: float = 30.0, check: bool = True) -> str:
    """Run a command in a server, by its namespaces rather than its network."""
    return run(["nsenter", "--target", str(box.pid), "--all", *argv], timeout=timeout, check=check)


def wait_ready(settings: Settings, server: Server) -> str:
    """Wait until systemd finished the boot and sshd answers; returns systemd's state of the whole server.

    Raises LabError with the console's last lines when it takes longer than BOOT_LIMIT or the server ends.
    """

    def booted() -> str | None:
        box = find(settings, server)
        if box is None:
            raise LabError("its PID 1 ended")
        limit = max(1.0, end - time.monotonic())
        answer = inside(box, ["systemctl", "is-system-running", "--wait"], timeout=limit, check=False).strip()
        return answer if answer in ("running", "degraded", "maintenance") else None

    def greeted() -> bool | None:
        try:
            with socket.create_connection((server.address, 22), timeout=2) as link:
                return link.recv(4) == b"SSH-" or None
        except OSError:
            return None

    end = time.monotonic() + BOOT_LIMIT
    try:
        answer = wait_for(booted, limit=BOOT_LIMIT, what="the boot", pause=0.05)
        wait_for(greeted, limit=max(1.0, end - time.monotonic()), what="an answer of sshd", pause=0.05)
    except LabError as error:
        last = console(settings, server, 15)
        raise LabError(f"server {server.name} is not ready: {error}\n{last}") from None
    return answer


def console(settings: Settings, server: Server, lines: int) -> str:
    """The last lines of the server's journal, of its disk when it is off, else of what PID 1 printed."""
    at = places(settings, server.name)
    box = find(settings, server)
    journal = ["journalctl", "--no-pager", "--quiet", "--merge", "-n", str(lines)]
    text = ""
    if box is not None:
        text = inside(box, journal, check=False)
    elif at.disk.exists():
        # Read-only and without replaying its log, in a mount namespace that ends with the command.
        script = (
            'mount -t tmpfs lab "$1"; mkdir "$1/d"; mount -o loop,ro,noload "$2" "$1/d"; shift 2; exec "$@"'
        )
        folder = at.run_dir / "console"
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", script, "console", str(folder)]
        tool = journal if shutil.which("journalctl") else None
        if tool is not None:
            text = run(
                [*argv, str(at.disk), *tool, "--directory", f"{folder}/d/var/log/journal"], check=False
            )
    if not text.strip() and (at.home / "console.log").exists():
        # Lines of conmon: time, stream, F or P, text.
        said = (at.home / "console.log").read_text(errors="replace").splitlines()[-lines:]
        text = "\n".join(line.split(" ", 3)[-1] for line in said)
    return text.rstrip() or f"{server.name} has said nothing yet"


def memory(box: procs.Box) -> tuple[int, int]:
    """Bytes of memory a server uses (without what the kernel can drop from its file cache), and its cap."""
    groups = dict(
        line.split(":", 2)[1:]
        for line in Path(f"/proc/{box.pid}/cgroup").read_text().splitlines()
        if ":" in line
    )
    try:
        if "memory" in groups:
            base = CGROUPS / "memory" / _box_group(groups["memory"])
            usage, cap = base / "memory.usage_in_bytes", base / "memory.limit_in_bytes"
            cached = "total_inactive_file"
        else:
            base = CGROUPS / _box_group(groups[""])
            usage, cap, cached = base / "memory.current", base / "memory.max", "inactive_file"
        stat = dict(line.split() for line in (base / "memory.stat").read_text().splitlines())
        return int(usage.read_text()) - int(stat[cached]), int(cap.read_text())
    except (OSError, KeyError, ValueError):
        return 0, 0


def _box_group(path: str) -> str:
    """From the group of PID 1 (init.scope of the server) to that of the whole container."""
    return path.lstrip("/").removesuffix("/init.scope")


def look(settings: Settings, state: State, server: Server) -> dict[str, object]:
    """How a server is, for `status`."""
    box = find(settings, server)
    result: dict[str, object] = {"name": server.name, "address": server.address, "state": "off"}
    if box is None:
        return result
    answer = inside(box, ["systemctl", "is-system-running"], check=False).strip()
    failed = inside(box, ["systemctl", "list-units", "--failed", "--output=json"], check=False)
    born = procs.birth(box.pid) or 0
    uptime = float(Path("/proc/uptime").read_text().split()[0]) - born / os.sysconf("SC_CLK_TCK")
    used, cap = memory(box)
    on_disk = places(settings, server.name).disk.stat().st_blocks * 512
    return result | {
        "state": answer or "starting",
        "pid": box.pid,
        "uptime_seconds": round(uptime, 1),
        "memory_bytes": used,
        "memory_cap_bytes": cap,
        "disk_bytes": on_disk,
        "failed_units": [unit["unit"] for unit in json.loads(failed or "[]")],
    }
