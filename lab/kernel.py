"""What the kernel keeps for a server beyond its processes: control groups and loop devices."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from pathlib import Path

from lab import procs
from lab.shell import LabError

CGROUPS = Path("/sys/fs/cgroup")
EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), <uapi/linux/ext4.h>
EXT4_GOING_FLAGS_NOLOGFLUSH = 2  # what was not synced is lost, as when the plug is pulled
# Of a group of processes against all others of the machine: cgroup v1's 1024 and v2's 100 are everybody's.
PROCESSORS = {"cpu/{}/cpu.shares": 8192, "{}/cpu.weight": 800}
LO_GET_STATUS64 = 0x4C05  # <uapi/linux/loop.h>
LO_CLR_FD = 0x4C01


def hierarchies() -> list[Path]:
    """Where control groups are mounted: one place on cgroup v2, one for each controller on v1."""
    return [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())]


def drop_unsynced(folder: int) -> None:
    """Stop an ext4 file system at once, losing what was not synced; folder is an open descriptor on it."""
    with contextlib.suppress(OSError):
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", EXT4_GOING_FLAGS_NOLOGFLUSH))


def group_members(path: str) -> set[int]:
    """Processes in a control group and those below it, in whatever hierarchy."""
    found: set[int] = set()
    for base in hierarchies():
        root = base / path.lstrip("/")
        if root.is_dir():
            for file in [root / "cgroup.procs", *root.rglob("cgroup.procs")]:
                with contextlib.suppress(OSError):
                    found |= {int(line) for line in file.read_text().split()}
    return {pid for pid in found if pid > 0 and procs.birth(pid) is not None}


def favour(group: str) -> None:
    """The servers below a control group of the first level get the processors before other work on the
    machine does. Real servers share theirs with nobody, and a group of all servers weighs as one process."""
    for place, weight in PROCESSORS.items():
        file = CGROUPS / place.format(group)
        if file.exists():
            file.write_text(str(weight))


def remove_groups(path: str) -> None:
    """Remove an empty control group and those below it; one that is still in use stays."""
    for base in hierarchies():
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


def devices_on(disk: Path) -> set[int]:
    """Device numbers of the loop devices on that file, as st_dev of what is mounted from them."""
    if not disk.exists():
        return set()
    about = disk.stat()
    return {
        os.makedev(*number)
        for _, device, inode, number in _loops()
        if (_plain(device), inode) == (about.st_dev, about.st_ino)
    }


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


def memory(groups: str) -> tuple[int, int]:
    """Bytes of memory a server uses (without what the kernel can drop from its file cache), and its cap.

    groups is /proc/PID/cgroup of its PID 1. Zeros when the server has just ended.
    """
    by = {controllers: path for _, controllers, path in (line.split(":", 2) for line in groups.splitlines())}
    base = CGROUPS / "memory" if "memory" in by else CGROUPS
    # From the group of PID 1 to that of the whole server.
    base /= by.get("memory", by.get("", "/")).removesuffix("/init.scope").lstrip("/")
    names = ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
    if "memory" not in by:
        names = ("memory.current", "memory.max", "inactive_file")
    try:
        stat = dict(line.split() for line in (base / "memory.stat").read_text().splitlines())
        used = int((base / names[0]).read_text()) - int(stat[names[2]])
        return used, int((base / names[1]).read_text())
    except (OSError, KeyError, ValueError):
        return 0, 0
