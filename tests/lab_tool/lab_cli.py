"""The lab's command line, as a user types it, and what it leaves on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import procs
from lab.model import run_dir_of

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Lab:
    """The command line of one lab."""

    name: str
    subnet: str
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes the command line speak of this lab."""
        return os.environ | {
            "JARVIS_LAB_NAME": self.name,
            "JARVIS_LAB_SUBNET": self.subnet,
            "JARVIS_LAB_STATE": str(self.state),
            "JARVIS_LAB_COUNT": "1",
            "JARVIS_LAB_MEMORY": "1g",
            "JARVIS_LAB_DISK": "4g",
        }

    def argv(self, *words: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "lab", *words]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a verb, whatever comes of it."""
        return subprocess.run(
            self.argv(*words),
            cwd=CHECKOUT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def ok(self, *words: str) -> str:
        """Run a verb that succeeds; what it said (results, then progress)."""
        done = self.call(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def refused(self, *words: str) -> str:
        """Run a verb that must end with one clear error; the error."""
        done = self.call(*words)
        assert done.returncode == 1, f"{words}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("lab: error:")]
        assert len(errors) == 1, done.stderr
        return errors[0]

    def ssh(self, server: str, command: str) -> str:
        """Run a command on a server by ssh, the host key checked."""
        done = self.call("ssh", server, command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, dict[str, Any]]:
        """How the servers are, by name."""
        done = self.call("status", "--json")
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)}

    def traces(self) -> list[str]:
        """Everything on the machine that this lab made and that is there now."""
        run = run_dir_of(self.name, self.state)
        found = [f"process {box.pid}" for box in procs.boxes() if box.state == self.state]
        for link in json.loads(subprocess.check_output(["ip", "-json", "link", "show"], text=True)):
            alias = Path(f"/sys/class/net/{link['ifname']}/ifalias")
            if alias.exists() and alias.read_text().strip() == f"jarvis-lab {self.state}":
                found.append(f"interface {link['ifname']}")
        for file in Path("/sys/block").glob("loop*/loop/backing_file"):
            if str(self.state) in file.read_text():
                found.append(f"loop device {file}")
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if str(self.state) in line or str(run) in line:
                found.append(f"mount {line}")
        found += [f"group {path}" for path in Path("/sys/fs/cgroup").glob(f"**/jarvis-lab/{run.name}")]
        found += [f"folder {path}" for path in (run, self.state) if path.exists()]
        return found
