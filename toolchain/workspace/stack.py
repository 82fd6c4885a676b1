"""A stack's life through the ``pulumi`` command, and the files that its outputs become."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from jarvis.core.private import write_private
from stacks.access import FOLDER
from toolchain.workspace.model import Workspace


class StackError(Exception):
    """A command of Pulumi failed; its own output has said why. The message says what to type next."""


def pulumi(workspace: Workspace, *words: str, capture: bool = False) -> str:
    """Runs ``pulumi`` in ``workspace``; its output is shown, or returned where ``capture`` is true.

    Raises ``StackError`` when it fails.
    """
    sys.stdout.flush()
    run = subprocess.run(
        [str(workspace.state / "bin" / "pulumi"), *words],
        cwd=workspace.root,
        env=workspace.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.PIPE if capture else None,
        text=True,
    )
    if run.returncode:
        detail = f"\n{run.stderr}" if capture else ""
        raise StackError(f"pulumi {' '.join(words[:2])} ended with status {run.returncode}{detail}")
    return run.stdout or ""


def select(workspace: Workspace) -> None:
    """Makes the stack where it is missing, and the one that plain commands mean."""
    pulumi(workspace, "stack", "select", "--create", workspace.stack, capture=True)


def resources(workspace: Workspace) -> list[dict[str, Any]]:
    """The resources in the state; empty where nothing has been deployed."""
    text = pulumi(workspace, "stack", "export", "--stack", workspace.stack, capture=True)
    found = json.loads(text)["deployment"].get("resources") or []
    return list(found)


def up(workspace: Workspace, words: Sequence[str] = ()) -> float:
    """Deploys. Returns the seconds that ``pulumi up`` took.

    An operation that an earlier run was killed in is forgotten first: every resource is safe to make twice.
    """
    select(workspace)
    forget_interrupted(workspace)
    first = [] if resources(workspace) else ["--skip-preview"]
    started = time.monotonic()
    pulumi(workspace, "up", "--yes", "--stack", workspace.stack, *first, *words)
    return time.monotonic() - started


def last_changes(workspace: Workspace) -> dict[str, int]:
    """How many resources the last operation of the stack created, updated and so on, by verb."""
    text = pulumi(
        workspace, "stack", "history", "--stack", workspace.stack, "--json", "--page-size=1", capture=True
    )
    found = json.loads(text)[0].get("resourceChanges") or {}
    return {verb: int(count) for verb, count in found.items() if verb != "same" and count}


def forget_interrupted(workspace: Workspace) -> None:
    """Removes the lock that a killed run left. A run that is still alive is never robbed of it: the file
    backend's lock names its process."""
    for lock in (workspace.folder / "state" / ".pulumi" / "locks").rglob("*.json"):
        holder = json.loads(lock.read_text(encoding="utf-8"))
        if not _alive(int(holder.get("pid", 0))):
            lock.unlink()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return b"pulumi" in stream.read()
    except OSError:
        return False


def write_access(workspace: Workspace) -> None:
    """Writes kubeconfig, clouds.yaml and the gateway's authority, each with mode 0600."""
    text = pulumi(
        workspace, "stack", "output", "--stack", workspace.stack, "--json", "--show-secrets", capture=True
    )
    outputs = json.loads(text)
    folder = workspace.folder
    write_private(workspace.kubeconfig, outputs["kubeconfig"])
    write_private(workspace.clouds, outputs["clouds"].replace(FOLDER, str(folder)))
    write_private(folder / "gateway.pem", outputs["gateway_authority"])


def destroy(workspace: Workspace) -> None:
    """Removes everything that the stack made, where it made anything."""
    if not (workspace.folder / "state" / ".pulumi" / "stacks").exists():
        return
    select(workspace)
    forget_interrupted(workspace)
    if resources(workspace):
        pulumi(workspace, "destroy", "--yes", "--skip-preview", "--stack", workspace.stack)
