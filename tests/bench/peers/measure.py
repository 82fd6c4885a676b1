"""The three tools, timed one after the other on the same servers: the first time, and with nothing to do."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.peers.role import Role, write_role
from toolchain.workspace.model import Workspace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PEERS = ("ansible", "pyinfra")
# Runs with nothing to do; the quickest is told, which says most about the tool and least about the machine.
RUNS = 2
# Of one run. The slowest tool takes a minute or two on two cores.
LIMIT_SECONDS = 900


class PeerError(Exception):
    """A tool failed; the message has the end of what it printed."""


def environment_of_peers(folder: Path) -> Path:
    """The virtual environment of the other tools, made from their own lock; its ``bin``."""
    uv = str(ROOT / ".venv" / "bin" / "uv")
    for words in (
        ["venv", "--quiet", "--clear", str(folder)],
        [
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            f"--python={folder / 'bin' / 'python'}",
            f"--requirement={HERE / 'requirements.txt'}",
        ],
    ):
        run([uv, *words], {})
    return folder / "bin"


def run(words: list[str], variables: Mapping[str, str], cwd: Path = ROOT) -> None:
    """Runs one tool. Raises ``PeerError`` when it fails."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode:
        raise PeerError(f"{' '.join(words[:3])} ended with status {done.returncode}:\n{done.stdout[-3000:]}")


def ansible(role: Role, facts: Mapping[str, Any], folder: Path, binaries: Path) -> Callable[[], None]:
    """One run of the playbook."""
    inventory, values = folder / "inventory.json", folder / "ansible.json"
    ssh = f"-o UserKnownHostsFile={facts['known_hosts_path']} -o StrictHostKeyChecking=yes -F none"
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": facts["private_key_path"],
        "ansible_ssh_common_args": f"{ssh} -o ControlMaster=auto -o ControlPersist=60s",
    }
    hosts = {one["name"]: {"ansible_host": one["address"]} for one in facts["servers"]}
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}), encoding="utf-8")
    content = json.loads((Path(role.folder) / "role.json").read_text(encoding="utf-8"))
    values.write_text(json.dumps({"role": content}), encoding="utf-8")
    words = [str(binaries / "ansible-playbook"), "-i", str(inventory), "-e", f"@{values}"]
    own = {
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "PATH": f"{binaries}:{os.environ['PATH']}",
    }
    return lambda: run([*words, str(HERE / "playbook.yml")], own)


def pyinfra(role: Role, facts: Mapping[str, Any], folder: Path, binaries: Path) -> Callable[[], None]:
    """One run of the deploy."""
    inventory = folder / "inventory.py"
    data = {
        "ssh_user": "root",
        "ssh_key": facts["private_key_path"],
        "ssh_known_hosts_file": facts["known_hosts_path"],
        "ssh_strict_host_key_checking": "yes",
    }
    hosts = [(one["address"], data) for one in facts["servers"]]
    inventory.write_text(f"servers = {hosts!r}\n", encoding="utf-8")
    words = [str(binaries / "pyinfra"), "--yes", str(inventory), str(HERE / "deploy.py")]
    own = {"JARVIS_ROLE": f"{role.folder}/role.json"}
    return lambda: run(words, own)


def jarvis(role: Role, facts: Mapping[str, Any], folder: Path, state: Path) -> Callable[[], None]:
    """One run of ``pulumi up`` with the product's own resources."""
    servers = folder / "servers.json"
    servers.write_text(json.dumps(facts), encoding="utf-8")
    workspace = Workspace(stack="peers", config=folder / "Pulumi.peers.yaml", state=state)
    workspace.prepare()
    shutil.rmtree(workspace.folder / "state")
    (workspace.folder / "state").mkdir(mode=0o700)
    own = {
        **workspace.environment(),
        "JARVIS_ROLE": f"{role.folder}/role.json",
        "JARVIS_SERVERS": str(servers),
        "PYTHONPATH": str(ROOT),
    }
    pulumi, program = str(state / "bin" / "pulumi"), HERE / "program"
    run([pulumi, "stack", "init", "peers"], own, program)
    (program / "Pulumi.peers.yaml").unlink(missing_ok=True)
    up = [pulumi, "up", "--yes", "--skip-preview", "--non-interactive", "--stack", "peers"]
    return lambda: run(up, own, program)


def verify(role: Role, look: Callable[[str], str]) -> None:
    """Whether the role is on the servers, whoever did it; ``look`` runs a command on one of them.

    Raises ``PeerError``: a tool that was quick because it did nothing must not be told as quick.
    """
    paths = " ".join(role.files.values())
    wanted = b"".join((Path(role.folder) / name).read_bytes() for name in role.files)
    found = look(f"cat {paths} | sha256sum; systemctl is-active {' '.join(role.units)} || true").split("\n")
    if not found[0].startswith(hashlib.sha256(wanted).hexdigest()):
        raise PeerError(f"{role.name}: the files on the server are not those that were asked for")
    if found[1 : 1 + len(role.units)] != ["active"] * len(role.units):
        raise PeerError(f"{role.name}: units are not active: {found[1:]}")


def timed(name: str, once: Callable[[], None], say: Callable[[str], None]) -> dict[str, float]:
    """The seconds of the first run, and of one with nothing to do."""
    seconds = []
    for _ in range(1 + RUNS):
        began = time.monotonic()
        once()
        seconds.append(round(time.monotonic() - began, 2))
    say(f"{name}: {seconds[0]:.1f} s, unchanged {', '.join(f'{each:.1f}' for each in seconds[1:])} s")
    return {"first_seconds": seconds[0], "unchanged_seconds": min(seconds[1:])}


def compare(
    facts: Mapping[str, Any],
    folder: Path,
    state: Path,
    look: Callable[[str], str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Times and ratios. ``folder`` is made anew; ``look`` runs a command on the first server."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    binaries = environment_of_peers(folder / "venv")
    found: dict[str, Any] = {"seconds": {}, "ratios": {}}
    for name in ("jarvis", *PEERS):
        role = write_role(f"{name}-role", folder / name)
        if name == "jarvis":
            once = jarvis(role, facts, folder, state)
        else:
            once = {"ansible": ansible, "pyinfra": pyinfra}[name](role, facts, folder, binaries)
        found["seconds"][name] = timed(name, once, say)
        verify(role, look)
        found["files"], found["units"], found["packages"] = (
            len(role.files),
            len(role.units),
            len(role.packages),
        )
    own = found["seconds"]["jarvis"]
    for name in PEERS:
        found["ratios"][name] = {
            key: round(own[key] / value, 3) for key, value in found["seconds"][name].items()
        }
    return found
