"""What runs: servers found by the mark in the environment of their PID 1, whoever started them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.shell import LabError

MARK = "JARVIS_LAB_SERVER"  # environment variable of a server's PID 1: "<lab>/<server>@<state folder>"


@dataclass(frozen=True)
class Box:
    """A running server: the process id of its PID 1, seen from the machine, and what its mark says."""

    pid: int
    lab: str
    server: str
    state: Path


def mark(lab: str, server: str, state: Path) -> str:
    """The value of MARK."""
    return f"{lab}/{server}@{state}"


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat after the command's name: state, parent, … (proc(5)); None when it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def birth(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, or None when it has ended (a zombie has)."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def parent(pid: int) -> int | None:
    """Process id of the parent, or None when the process has ended."""
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def boxes() -> Iterator[Box]:
    """All servers that run on this machine, of every lab."""
    prefix = f"{MARK}=".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes()
            if prefix not in environment:
                continue
            status = (folder / "status").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # PID 1 of a pid namespace below ours, and so not one of its children.
        inner = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(inner) < 2 or inner[-1] != "1" or birth(int(folder.name)) is None:
            continue
        value = next(item for item in environment.split(b"\0") if item.startswith(prefix))
        names, _, state = value[len(prefix) :].decode(errors="replace").partition("@")
        lab, _, server = names.partition("/")
        yield Box(pid=int(folder.name), lab=lab, server=server, state=Path(state))


def starters(home: Path) -> set[int]:
    """Processes that start the server whose files are in that folder, orphans of a killed `up`."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        tool = os.path.basename(words[0]) in (b"podman", b"conmon", b"runc", b"crun")
        ours = tool and any(word.startswith(os.fsencode(home / "podman")) for word in words)
        if (ours or os.fsencode(f"LAB_HOME={home}") in environment) and birth(int(folder.name)) is not None:
            found.add(int(folder.name))
    return found


def kill(pid: int, *, limit: float = 20.0) -> None:
    """SIGKILL a process and return when it is gone. LabError when it is not after limit seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(limit * 1000):
            raise LabError(
                f"process {pid} does not end {limit:.0f} s after SIGKILL: see `ps -o stat,wchan -p {pid}`"
            )
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
