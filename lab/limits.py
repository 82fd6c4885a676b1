"""The one setting of the machine that all servers share and that has to be larger for them.

systemd, containerd, the kubelet and every control-plane process watch files. The kernel counts watchers by
user, so all boxes of all labs draw on root's 128, and a server would fail with "too many open files" at some
point of a deployment. The limit is raised while there is a lab and put back when the last one is removed.
"""

from __future__ import annotations

from pathlib import Path

from lab.image import locked
from lab.model import write
from lab.shell import say

LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH = 1024  # an idle server has 7, one with Kubernetes several times that; two labs of three side by side
SAVED = Path("/run/jarvis-lab/inotify")  # "<value before> <value we set>"


def widen() -> bool:
    """Raise the limit if it is too low; True when that was done."""
    with locked(SAVED.with_suffix(".lock")):
        before = int(LIMIT.read_text())
        if before >= ENOUGH:
            return False
        try:
            LIMIT.write_text(str(ENOUGH))
        except OSError as error:
            say(f"lab: warning: {LIMIT} stays {before} ({error.strerror}); {ENOUGH} would be safe")
            return False
        write(SAVED, f"{before} {ENOUGH}\n")
        say(f"lab: fs.inotify.max_user_instances raised from {before} to {ENOUGH} while there is a lab")
        return True


def restore() -> bool:
    """Put the limit back unless somebody changed it since; True when that was done."""
    with locked(SAVED.with_suffix(".lock")):
        try:
            before, ours = SAVED.read_text().split()
        except (FileNotFoundError, ValueError):
            return False
        done = LIMIT.read_text().strip() == ours
        if done:
            LIMIT.write_text(before)
        SAVED.unlink()
        return done
