"""The three tools, timed one after the other on the same servers: the first time, with nothing to do, and
looking only."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers.role import Role, write_role
from tests.lab.deployment import lab_environment
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


@dataclass(frozen=True, kw_only=True)
class Tool:
    """``once`` does the work; ``look`` tells what it would do, from what is on the servers, and changes
    nothing."""

    once: Callable[[], None]
    look: Callable[[], None]


def ansible(role: Role, facts: Mapping[str, Any], folder: Path, binaries: Path) -> Tool:
    """The playbook."""
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
    words.append(str(HERE / "playbook.yml"))
    return Tool(once=lambda: run(words, own), look=lambda: run([*words, "--check"], own))


def pyinfra(role: Role, facts: Mapping[str, Any], folder: Path, binaries: Path) -> Tool:
    """The deploy."""
    inventory = folder / "inventory.py"
    data = {
        "ssh_user": "root",
        "ssh_key": facts["private_key_path"],
        "ssh_known_hosts_file": facts["known_hosts_path"],
        "ssh_strict_host_key_checking": "yes",
    }
    hosts = [(one["address"], data) for one in facts["servers"]]
    inventory.write_text(f"servers = {hosts!r}\n", encoding="utf-8")
    program, deploy = str(binaries / "pyinfra"), [str(inventory), str(HERE / "deploy.py")]
    own = {"JARVIS_ROLE": f"{role.folder}/role.json"}
    return Tool(
        once=lambda: run([program, "--yes", *deploy], own),
        look=lambda: run([program, "--dry", *deploy], own),
    )


def jarvis(role: Role, facts: Mapping[str, Any], folder: Path, state: Path) -> Tool:
    """``pulumi up`` and ``pulumi preview`` with the product's own resources. A preview asks the servers, and
    fails where it finds anything."""
    servers = folder / "servers.json"
    servers.write_text(json.dumps(facts), encoding="utf-8")
    asked = folder / "environment.json"
    asked.write_text(json.dumps(environment_on(facts)), encoding="utf-8")
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
    common = ["--non-interactive", "--stack", "peers"]
    up = [pulumi, "up", "--yes", "--skip-preview", *common]
    preview = [pulumi, "preview", "--expect-no-changes", *common]
    asking = {**own, "JARVIS_ENVIRONMENT": str(asked)}
    return Tool(once=lambda: run(up, own, program), look=lambda: run(preview, asking, program))


def environment_on(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of the stack dev on the first three of the servers that ``facts`` describe, with all
    others as workers."""
    environment = lab_environment({**facts, "servers": facts["servers"][:3]})
    environment["servers"] += [
        {
            "name": one["name"],
            "address": one["address"],
            "host_key_file": facts["known_hosts_path"],
            "roles": ["worker"],
        }
        for one in facts["servers"][3:]
    ]
    return environment


def verify_looking(role: Role, tool: Tool, do: Callable[[str], str]) -> None:
    """Whether ``tool``, of Jarvis, finds a file that somebody edited, and nothing once it is as it was;
    ``do`` runs a command on one server. Raises ``PeerError`` where it does not."""
    path = next(path for path in role.files.values() if path.endswith(".conf"))
    do(f"cp -p {path} /tmp/as-it-was && echo >>{path}")
    try:
        tool.look()
    except PeerError as error:
        if "no changes were expected" not in str(error):
            raise
    else:
        raise PeerError(f"{path} was edited, and the preview did not find it")
    finally:
        do(f"mv /tmp/as-it-was {path}")
    tool.look()


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


def timed(name: str, tool: Tool, say: Callable[[str], None]) -> dict[str, float]:
    """The seconds of the first run, of one with nothing to do, and of looking only."""
    first, *unchanged = [took(tool.once) for _ in range(1 + RUNS)]
    looking = [took(tool.look) for _ in range(RUNS)]
    told = (", ".join(f"{each:.1f}" for each in several) for several in (unchanged, looking))
    say("{}: {:.1f} s, unchanged {} s, looking only {} s".format(name, first, *told))
    return {"first_seconds": first, "unchanged_seconds": min(unchanged), "looking_seconds": min(looking)}


def took(run: Callable[[], object]) -> float:
    """How many seconds ``run`` took."""
    began = time.monotonic()
    run()
    return round(time.monotonic() - began, 2)


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
            tool = jarvis(role, facts, folder, state)
        else:
            tool = {"ansible": ansible, "pyinfra": pyinfra}[name](role, facts, folder, binaries)
        found["seconds"][name] = timed(name, tool, say)
        verify(role, look)
        if name == "jarvis":
            verify_looking(role, tool, look)
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
