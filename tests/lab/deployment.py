"""A deployment of the tests' own, in a lab of its own, as an operator sees it: pulumi, ssh, kubectl."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import yaml

from jarvis.config import parse_environment
from jarvis.config.rotations import secret_names
from toolchain.workspace.model import Workspace
from toolchain.workspace.stack import forget_interrupted, select

ROOT = Path(__file__).resolve().parents[2]
# Another name and subnet are for a second run at the same time, of another checkout on the same machine.
LAB = os.environ.get("JARVIS_TEST_LAB", "jarvis-test")
SUBNET = os.environ.get("JARVIS_TEST_SUBNET", "10.89.0.0/24")
ROUTER_ID = 89
OPENSTACK = ("openstack", "--os-cloud", "jarvis")
# No step takes near as long; a hang must fail rather than hold the run up.
LIMIT_SECONDS = 1500
# How often something is looked at that is waited for.
LOOK_SECONDS = 0.3


def attempt_lab(*words: str) -> subprocess.CompletedProcess[str]:
    """A verb of the lab's command line, whatever comes of it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JARVIS_LAB_")}
    return subprocess.run(
        [sys.executable, "-m", "lab", words[0], "--name", LAB, "--subnet", SUBNET, *words[1:]],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )


def lab(*words: str) -> str:
    """A verb of the lab's command line that succeeds; what it printed."""
    run = attempt_lab(*words)
    assert run.returncode == 0, f"lab {words}: {run.stdout}{run.stderr}"
    return run.stdout


def wait_until(
    what: str, true: Callable[[], object], seconds: float, *, instead: Callable[[], object] = lambda: ""
) -> None:
    """Looks until ``true()`` holds; fails after ``seconds``, which are a limit and no measure, and tells what
    there is ``instead``."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what} {instead()}"
        time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Run:
    """One run of pulumi: its status, what it printed, and the engine's events."""

    status: int
    output: str
    events: list[dict[str, Any]]

    def steps(self) -> dict[str, str]:
        """What was done, or would be, by ``<type> <name>``: create, update, replace, delete. Nothing else."""
        found: dict[str, str] = {}
        for event in self.events:
            metadata = event.get("resourcePreEvent", {}).get("metadata")
            if metadata is None or metadata["op"] in ("same", "read", "refresh"):
                continue
            label = f"{metadata['type']} {metadata['urn'].split('::')[-1]}"
            if "replace" not in found.get(label, ""):
                found[label] = metadata["op"]
        return found

    def errors(self) -> list[str]:
        """The errors that were told, as one text each."""
        told = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return [each["message"] for each in told if each["severity"] == "error"]


def read_events(log: Path) -> list[dict[str, Any]]:
    """The events in ``log``; a last line that is still being written is left out."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [json.loads(line) for line in lines if line.strip()]


@dataclass
class Stack:
    """One stack on the servers of the tests' lab.

    ``say`` tells the person who watches; ``runs`` counts the runs of pulumi, whose logs lie in ``logs``.
    """

    workspace: Workspace
    environment: dict[str, Any]
    say: Callable[[str], None]
    variables: Mapping[str, str] = field(default_factory=dict)
    runs: int = 0

    @property
    def logs(self) -> Path:
        return self.workspace.folder / "logs"

    def prepare(self) -> None:
        """Makes folder, configuration and stack."""
        self.workspace.prepare()
        self.logs.mkdir(exist_ok=True)
        self.configure(self.environment)
        select(self.workspace)
        # Where there is none, a new stack gets a file of its name beside the program; this one has its own.
        (ROOT / f"Pulumi.{self.workspace.stack}.yaml").unlink(missing_ok=True)

    def configure(self, environment: Mapping[str, Any]) -> None:
        """Writes the stack's configuration."""
        assert self.workspace.config is not None
        document = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
        document["config"] = {"jarvis:environment": dict(environment)}
        self.workspace.config.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def changed(self, **sections: Mapping[str, Any]) -> dict[str, Any]:
        """The environment with ``sections`` laid over it, one level into each."""
        environment = copy.deepcopy(self.environment)
        for name, values in sections.items():
            environment.setdefault(name, {}).update(copy.deepcopy(dict(values)))
        return environment

    def start(self, *words: str) -> tuple[subprocess.Popen[str], Path, Path]:
        """Starts pulumi. Returns the process, the file with its output, and the log of events."""
        self.runs += 1
        output = self.logs / f"{self.runs:02}-{words[0]}.log"
        events = output.with_suffix(".events")
        environment = {
            **self.workspace.environment(),
            **self.variables,
            # Without it the CLI has no --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
        }
        with output.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [
                    str(self.workspace.state / "bin" / "pulumi"),
                    *words,
                    "--stack",
                    self.workspace.stack,
                    "--non-interactive",
                    "--color=never",
                    f"--event-log={events}",
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return process, output, events

    def finish(self, process: subprocess.Popen[str], output: Path, events: Path) -> Run:
        """Waits for a started run."""
        try:
            process.wait(timeout=LIMIT_SECONDS)
        finally:
            process.kill()
        return Run(process.returncode, output.read_text(encoding="utf-8"), read_events(events))

    def attempt(self, *words: str) -> Run:
        """Runs pulumi, whatever comes of it."""
        began = time.monotonic()
        run = self.finish(*self.start(*words))
        self.say(f"pulumi {words[0]} of {self.workspace.stack}: {time.monotonic() - began:.0f} s")
        return run

    def run(self, *words: str) -> Run:
        """Runs pulumi, which must succeed."""
        run = self.attempt(*words)
        assert run.status == 0, run.output[-8000:]
        return run

    def up(self) -> Run:
        """Deploys as ``make up`` does: killed runs are forgotten before."""
        forget_interrupted(self.workspace)
        return self.run("up", "--yes", "--skip-preview")

    def kill_up(self, kind: str, name: str) -> None:
        """Starts a deployment and kills it (SIGKILL) as soon as it works on a resource whose type begins with
        ``kind`` and whose name ends with ``name``."""
        forget_interrupted(self.workspace)
        began = time.monotonic()
        process, output, log = self.start("up", "--yes", "--skip-preview")

        def at_work() -> bool:
            assert process.poll() is None, f"ended before {name}:\n{output.read_text()[-8000:]}"
            return any(
                one.startswith(kind) and one.endswith(name) for one in Run(0, "", read_events(log)).steps()
            )

        try:
            wait_until(f"pulumi works on {name}", at_work, LIMIT_SECONDS)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.say(f"pulumi up killed at {name}, after {time.monotonic() - began:.0f} s")

    def query(self, *words: str) -> str:
        """What a command of pulumi that changes nothing prints."""
        run = subprocess.run(
            [str(self.workspace.state / "bin" / "pulumi"), *words, "--stack", self.workspace.stack],
            cwd=ROOT,
            env=self.workspace.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert run.returncode == 0, f"pulumi {words}: {run.stderr}"
        return run.stdout

    def state(self, *, secrets: bool = False) -> list[dict[str, Any]]:
        """The resources in the state."""
        words = ["stack", "export", *(["--show-secrets"] if secrets else [])]
        return json.loads(self.query(*words))["deployment"].get("resources") or []


def counters(stack: Stack) -> list[str]:
    """Every counter that ``rotations`` of the stack's environment may have."""
    return list(secret_names(parse_environment(stack.environment, stack.workspace.stack)))


def turn(stack: Stack, names: Iterable[str]) -> None:
    """Raises the counters ``names`` by one in the configuration, for good: a counter never goes back."""
    turns = stack.environment.get("rotations", {})
    stack.environment = stack.changed(rotations={name: turns.get(name, 0) + 1 for name in names})
    stack.configure(stack.environment)


@dataclass
class Cloud:
    """The tests' lab, the stack ``test`` on it, and the tools by which both are looked at."""

    stack: Stack
    facts: dict[str, Any]

    @property
    def servers(self) -> list[str]:
        return [server["name"] for server in self.facts["servers"]]

    @property
    def virtual_address(self) -> str:
        """The one of the configuration, which a test may change."""
        return str(self.stack.environment["networks"]["virtual_address"])

    @property
    def authority(self) -> Path:
        """The gateway's authority, in PEM."""
        return self.stack.workspace.folder / "gateway.pem"

    def attempt_ssh(self, server: str, command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command on a server, which reads ``stdin``, whatever comes of it."""
        address = next(each["address"] for each in self.facts["servers"] if each["name"] == server)
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            # A server may lose its power while it is asked.
            "ServerAliveInterval": "10",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.facts["known_hosts_path"],
        }
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return subprocess.run(
            ["ssh", "-F", "none", "-i", self.facts["private_key_path"], *words, f"root@{address}", command],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_SECONDS,
        )

    def ssh(self, server: str, command: str) -> str:
        """A command on a server that succeeds; what it printed."""
        run = self.attempt_ssh(server, command)
        assert run.returncode == 0, f"{server}: {command}: {run.stdout}{run.stderr}"
        return run.stdout

    def each(self, command: str) -> Iterator[tuple[str, str]]:
        """Each server with what ``command`` prints there."""
        for server in self.servers:
            yield server, self.ssh(server, command)

    def tool(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A tool in the environment that ``.jarvis/test/env`` gives an operator."""
        run = subprocess.run(
            list(words),
            cwd=ROOT,
            env=self.stack.workspace.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert not check or run.returncode == 0, f"{' '.join(words)}: {run.stdout}{run.stderr}"
        return run

    def shown(self, *words: str) -> Any:
        """What a command of OpenStack's client shows or lists."""
        return json.loads(self.tool(*OPENSTACK, *words, "-f", "json").stdout)

    def pods(self, service: str) -> set[str]:
        """The uids of the pods that serve the API of ``service``."""
        selector = f"app.kubernetes.io/name={service},app.kubernetes.io/component=api"
        found = self.objects("pods", "--namespace", "openstack", "--selector", selector)
        return {one["metadata"]["uid"] for one in found}

    def kubectl(self, *words: str) -> str:
        return self.tool("kubectl", *words).stdout

    def objects(self, *words: str) -> list[dict[str, Any]]:
        """What ``kubectl get`` finds."""
        return list(json.loads(self.kubectl("get", *words, "-o", "json"))["items"])

    def ready_nodes(self) -> list[str]:
        """The names of the nodes that are ready."""
        return [
            node["metadata"]["name"]
            for node in self.objects("nodes")
            for condition in node["status"]["conditions"]
            if condition["type"] == "Ready" and condition["status"] == "True"
        ]

    def healthy_members(self, server: str) -> list[str]:
        """The etcd members that are healthy, as etcdctl on ``server`` says."""
        command = (
            "set -a; . /etc/etcd/etcdctl.env; set +a; etcdctl endpoint health --cluster --write-out=json"
        )
        run = self.attempt_ssh(server, command)
        try:
            found = json.loads(run.stdout)
        except ValueError:
            return []
        return [member["endpoint"] for member in found if member["health"]]

    def holder(self, address: str = "") -> str | None:
        """The server that has the virtual address, or the ``address``."""
        for server in self.servers:
            shown = self.attempt_ssh(server, "ip -o -4 address show").stdout
            if f" {address or self.virtual_address}/" in shown:
                return server
        return None


def lab_environment(facts: Mapping[str, Any], count: int = 3) -> dict[str, Any]:
    """The environment of the stack dev, or of its first ``count`` servers, on those of ``facts``."""
    document = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    environment: dict[str, Any] = document["config"]["jarvis:environment"]
    environment["name"] = "test"
    environment["networks"] = {
        "management": facts["network"],
        "virtual_address": facts["virtual_address"],
        "virtual_router_id": ROUTER_ID,
    }
    # The bridge's own address is this machine: a client outside. (The lab tries SSH between its servers.)
    outside = f"{ip_network(facts['network'])[1]}/32"
    environment["firewall"] = {"operators": [facts["network"]], "clients": [outside]}
    environment["ssh"] = {"private_key_file": facts["private_key_path"]}
    environment["servers"] = environment["servers"][:count]
    for server, fact in zip(environment["servers"], facts["servers"], strict=True):
        server["name"], server["address"] = fact["name"], fact["address"]
        server["host_key_file"] = facts["known_hosts_path"]
    return environment
