"""How a server is: whether it is ready, what it said last, what it uses."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lab import image, kernel, procs, virtual
from lab.machine import find, places
from lab.model import Server, Settings, State
from lab.shell import LabError, run, say, wait_for

SSH_LIMIT = 120.0  # seconds; a boot takes about one, on a busy machine several
# MariaDB and RabbitMQ start at each boot of a bare server, within some seconds. What a deployment put there
# may be slower (etcd waits for the others of its cluster).
UNITS_LIMIT = 30.0
# By how much a processor that is translated is slower.
SLOW = 6
# A server that is not seen for so long has ended.
GONE_AFTER = 3.0


def inside(box: procs.Box, argv: Sequence[str], *, timeout: float = 30.0, check: bool = True) -> str:
    """Run a command in a server, by its namespaces rather than its network."""
    return run(["nsenter", "--target", str(box.pid), "--all", *argv], timeout=timeout, check=check)


def ask(
    settings: Settings, server: Server, box: procs.Box, argv: Sequence[str], *, timeout: float = 30.0
) -> str:
    """What a command prints in a server of either kind, whatever comes of it."""
    if settings.kind == image.VIRTUAL:
        home = places(settings, server.name).home
        return virtual.inside(settings, server, list(argv), home, timeout)
    return inside(box, argv, timeout=timeout, check=False)


def wait_ready(settings: Settings, server: Server) -> None:
    """Wait until sshd answers, and for a while until systemd has started everything; says what it has not.

    Raises LabError with the console's last lines when sshd does not answer or the server ends.
    """

    seen = time.monotonic()
    slow = SLOW if settings.kind == image.VIRTUAL else 1

    def greeted() -> bool | None:
        nonlocal seen
        # A process that is just being replaced by exec has no environment to be known by: look again.
        if find(settings, server) is not None:
            seen = time.monotonic()
        elif time.monotonic() - seen > GONE_AFTER:
            raise LabError("its PID 1 ended")
        try:
            with socket.create_connection((server.address, 22), timeout=2) as link:
                return link.recv(4) == b"SSH-" or None
        except OSError:
            return None

    try:
        wait_for(greeted, limit=SSH_LIMIT * slow, what="an answer of sshd", pause=0.05)
    except LabError as error:
        last = console(settings, server, 15)
        raise LabError(f"server {server.name} is not ready: {error}\n{last}") from None
    box = find(settings, server)
    try:
        wait = ["systemctl", "is-system-running", "--wait"]
        answer = ask(settings, server, box, wait, timeout=UNITS_LIMIT * slow).strip() if box else "off"
    except LabError:
        answer = "still starting units"
    if answer != "running":
        say(f"lab: {server.name} is {answer}: see `python -m lab status --name {settings.name}`")


def check_neighbours(settings: Settings, servers: Sequence[Server]) -> None:
    """Make sure that servers reach each other: a firewall of the machine may stop what crosses a bridge.

    Raises LabError saying which sysctl and chain to look at.
    """
    box = find(settings, servers[0])
    if box is None or len(servers) < 2 or settings.kind == image.VIRTUAL:
        return
    there = servers[1].address
    probe = ["timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{there}/22 && head -c 4 <&3"]
    answer = wait_for(
        lambda: run(["nsenter", "--target", str(box.pid), "--net", *probe], check=False) or "none",
        limit=10,
        what=f"an answer of {there}",
    )
    if answer != "SSH-":
        raise LabError(
            f"{servers[0].name} does not reach {servers[1].name}: "
            "this machine filters what crosses a bridge; "
            f"allow it by `iptables -I FORWARD -i {settings.bridge} -o {settings.bridge} -j ACCEPT`"
        )


def console(settings: Settings, server: Server, lines: int) -> str:
    """The last lines of the server's journal, of its disk when it is off, else of what PID 1 printed."""
    at = places(settings, server.name)
    box = find(settings, server)
    journal = ["journalctl", "--no-pager", "--quiet", "--merge", "-n", str(lines)]
    text = ""
    if box is not None:
        text = ask(settings, server, box, journal)
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
        # Lines of conmon: time, stream, F or P, text. A virtual machine's are text alone.
        said = (at.home / "console.log").read_text(errors="replace").splitlines()
        parts = 0 if settings.kind == image.VIRTUAL else 3
        told = (line.split(" ", parts)[-1].strip("\r") for line in said)
        text = "\n".join([line for line in told if line][-lines:])
    return text.rstrip() or f"{server.name} has said nothing yet"


def look(settings: Settings, state: State, server: Server) -> dict[str, object]:
    """How a server is, for `status`."""
    box = find(settings, server)
    result: dict[str, object] = {"name": server.name, "address": server.address, "state": "off"}
    if box is None:
        return result
    answer = ask(settings, server, box, ["systemctl", "is-system-running"]).strip()
    failed = ask(settings, server, box, ["systemctl", "list-units", "--failed", "--output=json"])
    born = procs.birth(box.pid) or 0
    uptime = float(Path("/proc/uptime").read_text().split()[0]) - born / os.sysconf("SC_CLK_TCK")
    if settings.kind == image.VIRTUAL:
        used, cap = virtual.memory(box.pid, state.memory)
    else:
        used, cap = kernel.memory(Path(f"/proc/{box.pid}/cgroup").read_text())
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
