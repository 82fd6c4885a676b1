"""A deployment of the bench's own, in a lab of its own, and what is measured of it."""

from __future__ import annotations

import copy
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.bench.many import MEMORY, SERVERS, look_at_many
from tests.bench.path import by_component, critical_path, gates, steps
from tests.bench.peers.measure import compare, took
from tests.bench.throughput import throughput
from tests.faults.client import Refused
from tests.lab.deployment import ROOT, Cloud, Stack, lab_environment, wait_until
from tests.lab.tokens import TokenLoop
from toolchain.workspace.model import Workspace
from toolchain.workspace.stack import write_access

LAB = "jarvis-bench"
SUBNET = "10.94.0.0/24"
ROUTER_ID = 94
STATE = ROOT / ".jarvis"
# Runs of what is over in seconds; the median is told.
RUNS = 3
# One line of a service's options, which is in use once its pods have been replaced.
OPTION = ("glance", "DEFAULT.limit_param_default", 30)
# What sshd writes for each connection that was let in. The journal is written out before it is read.
_LOGINS = (
    "journalctl --sync; journalctl --quiet --boot --identifier sshd --grep 'Accepted publickey' --output cat"
)
_TOKEN_LIMIT_SECONDS = 300


class BenchError(Exception):
    """Something that is to be measured does not work; the message says what to type next."""


def say(text: str) -> None:
    """Tells the person who watches."""
    print(f"    {text}", flush=True)


def run(*words: str) -> str:
    """A Python module of the checkout, by its words; what it printed. Raises ``BenchError``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JARVIS_LAB_")}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchError(f"python -m {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def lab(verb: str, *words: str) -> str:
    """A verb of the bench's lab; what it printed. Raises ``BenchError``."""
    return run("lab", verb, "--name", LAB, "--subnet", SUBNET, *words)


@contextmanager
def fresh_servers(*words: str) -> Iterator[dict[str, Any]]:
    """Three bare servers, or as the options ``words`` of the lab say, as ``python -m lab config`` describes
    them. They are gone at the end."""
    lab("down")
    shutil.rmtree(STATE / "bench", ignore_errors=True)
    try:
        lab("up", "--owner", str(os.getpid()), *words)
        yield json.loads(lab("config"))
    finally:
        lab("down")


def environment_for(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of the stack dev on the servers that ``facts`` describe."""
    environment = lab_environment(facts)
    environment["name"] = "bench"
    environment["networks"]["virtual_router_id"] = ROUTER_ID
    return environment


def logins(cloud: Cloud) -> dict[str, int]:
    """By server: how often somebody logged in since it booted, this question included."""
    return {server: len(text.splitlines()) for server, text in cloud.each(_LOGINS)}


def memory() -> dict[str, int]:
    """By server: bytes in use, without what the kernel can drop from its file cache."""
    return {row["name"]: int(row["memory_bytes"]) for row in json.loads(lab("status", "--json"))}


def legs(events: list[dict[str, Any]], resources: list[dict[str, Any]]) -> dict[str, Any]:
    """What a run made or changed, and its critical path, step by step and by component."""
    made = steps(events, resources)
    path = critical_path(made, gates(resources))
    return {
        "resources_made": len(made),
        "critical_path": [
            {
                "component": leg.step.component,
                "name": leg.step.name,
                "start": leg.step.start,
                "waited": leg.waited,
                "took": leg.step.end - leg.step.start,
            }
            for leg in path
        ],
        "critical_path_by_component": by_component(path),
    }


def serving(cloud: Cloud, service: str, variable: str, value: str) -> bool:
    """Whether every pod of ``service`` is ready and its processes have the variable."""
    wanted = f"app.kubernetes.io/name={service},app.kubernetes.io/component=api"
    pods = cloud.objects("pods", "-n", "openstack", "-l", wanted)
    show = ("--", "python3", "-c", f"import os; print(os.environ.get('{variable}'))")
    return bool(pods) and all(
        any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])
        and cloud.tool(
            "kubectl", "exec", "-n", "openstack", pod["metadata"]["name"], *show, check=False
        ).stdout.strip()
        == value
        for pod in pods
    )


def option_change(cloud: Cloud, service: str, option: str, value: int) -> dict[str, Any]:
    """Changes one line of one service's options, until each of its pods serves with it."""
    stack = cloud.stack
    environment = copy.deepcopy(stack.environment)
    environment["openstack"].setdefault(service, {}).setdefault("options", {})[option] = value
    stack.configure(environment)
    group, name = option.split(".")
    variable = f"OS_{group.upper()}__{name.upper()}"
    began = time.monotonic()
    run = stack.run("up", "--yes", "--skip-preview")
    wait_until(f"{service} serves with {option}", lambda: serving(cloud, service, variable, str(value)), 120)
    seconds = round(time.monotonic() - began, 1)
    say(f"{service}: {option} is in use after {seconds:.1f} s")
    return {"service": service, "option": option, "seconds": seconds, **legs(run.events, stack.state())}


def first_deployment(cloud: Cloud) -> dict[str, Any]:
    """Deploys on bare servers, and asks for a token until there is one."""
    stack = cloud.stack
    before = logins(cloud)
    began = time.monotonic()
    deployed = stack.run("up", "--yes", "--skip-preview")
    seconds = time.monotonic() - began
    write_access(stack.workspace)
    with TokenLoop(stack.workspace.clouds, cloud.authority) as loop:
        wait_until("a token is issued", lambda: loop.tokens_since(0), _TOKEN_LIMIT_SECONDS)
    first_token = next(moment for moment, problem in loop.answers if not problem) - began
    after = logins(cloud)
    return {
        "up_seconds": round(seconds, 1),
        "first_token_seconds": round(first_token, 1),
        # The second question is a login as well.
        "ssh_connections": {server: after[server] - before[server] - 1 for server in cloud.servers},
        **legs(deployed.events, stack.state()),
    }


def unchanged(cloud: Cloud, *words: str) -> list[float]:
    """The seconds that a command of pulumi took, which finds nothing to do, run several times."""
    whole = ("pulumi", *words, "--stack", cloud.stack.workspace.stack, "--expect-no-changes")
    found = [took(lambda: cloud.tool(*whole)) for _ in range(RUNS)]
    say(f"pulumi {' '.join(words)}: {', '.join(f'{each:.1f}' for each in found)} s")
    return found


def machine() -> dict[str, Any]:
    """What all of it ran on."""
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": system,
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "memory_mib": pages // 2**20,
        "load": os.getloadavg()[0],
    }


def commit() -> str:
    """The checkout's commit, in short."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def measure() -> dict[str, Any]:
    """All figures. Raises ``BenchError``, or ``AssertionError`` of a command that failed."""
    if os.geteuid() != 0:
        raise BenchError("the lab needs root")
    if not (STATE / "artifacts.json").exists():
        raise BenchError("there are no artifacts; make them with: make tools artifacts")
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "plugins": "offline" if (STATE / "bin" / "pulumi-resource-command").exists() else "official",
        "tools": json.loads(run("toolchain", "times")),
    }
    with fresh_servers() as facts:
        say("three servers are up")
        figures["bare_memory_bytes"] = memory()
        folder = STATE / "bench"
        folder.mkdir(parents=True)
        workspace = Workspace(stack="bench", config=folder / "Pulumi.bench.yaml", state=STATE)
        cloud = Cloud(Stack(workspace, environment_for(facts), say), facts)
        cloud.stack.prepare()
        figures["first_deployment"] = first_deployment(cloud)
        previews = unchanged(cloud, "preview")
        ups = unchanged(cloud, "up", "--yes")
        skipping = unchanged(cloud, "up", "--yes", "--skip-preview")
        cloud.tool("pulumi", "config", "set", "jarvis:observe", "false", "--stack", workspace.stack)
        blind = unchanged(cloud, "preview")
        cloud.tool("pulumi", "config", "rm", "jarvis:observe", "--stack", workspace.stack)
        figures["preview_seconds"] = statistics.median(previews)
        figures["preview_blind_seconds"] = statistics.median(blind)
        figures["up_unchanged_seconds"] = statistics.median(ups)
        figures["up_unchanged_skip_preview_seconds"] = statistics.median(skipping)
        figures["runs"] = {
            "preview": previews,
            "preview, observe false": blind,
            "up": ups,
            "up --skip-preview": skipping,
        }
        stored = next((workspace.folder / "state" / ".pulumi" / "stacks").rglob("bench.json"))
        count, size = len(cloud.stack.state()), stored.stat().st_size
        figures["state"] = {"bytes": size, "resources": count, "bytes_per_resource": round(size / count)}
        figures["idle_memory_bytes"] = memory()
        try:
            figures["throughput"] = throughput(cloud, say)
        except (OSError, Refused) as error:
            raise BenchError(f"a request under load was not answered: {error}") from error
        figures["option_change"] = option_change(cloud, *OPTION)
        say("the same role of one server by Jarvis, Ansible and pyinfra: ten minutes")
        figures["peers"] = compare(
            facts, STATE / "bench-peers", STATE, lambda command: cloud.ssh(cloud.servers[0], command), say
        )
    with fresh_servers("--count", str(SERVERS), "--memory", MEMORY) as facts:
        say(f"{SERVERS} servers are up")
        figures["many"] = look_at_many(
            facts,
            STATE / "bench-peers",
            STATE,
            lambda command: lab("ssh", facts["servers"][0]["name"], command),
            say,
        )
    return figures
