"""One real deployment, shared by all tests of this folder, which run in the order of their files' names.

With JARVIS_KEEP_LAB=1 the lab stays at the end, and one that is there with its deployment is used as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from deployment import ROOT, Cloud, Run, Stack, attempt_lab, lab, lab_environment
from watching import teller

from toolchain.workspace.model import Workspace

STATE = ROOT / ".jarvis"
# Nobody listens there (tcpmux, RFC 1078, is long gone).
REFUSED_PORT = 1
KEEP = os.environ.get("JARVIS_KEEP_LAB") == "1"


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    return teller(request)


@pytest.fixture(scope="session")
def facts(say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Three bare servers: what the lab says of them. They are gone at the end, whatever happened."""
    assert os.geteuid() == 0, "the lab and its tests need root"
    assert (STATE / "artifacts.json").exists(), "no artifacts; make them with: make tools artifacts"
    if not KEEP:
        lab("down")
        for folder in STATE.glob("test*"):
            shutil.rmtree(folder)
    try:
        made = attempt_lab("up", *([] if KEEP else ["--owner", str(os.getpid())]))
        if made.returncode:
            # Nothing here can be tested then, and one error is clearer than one for each test.
            pytest.exit(f"no lab: {made.stderr}", returncode=1)
        say("three servers are up")
        yield json.loads(lab("config"))
    finally:
        if not KEEP:
            lab("down")


@pytest.fixture(scope="session")
def make_stack(facts: dict[str, Any], say: Callable[[str], None]) -> Callable[..., Stack]:
    """A function that makes a stack on those servers; ``servers`` and other sections are laid over."""

    def make(name: str, variables: dict[str, str] | None = None, **sections: Any) -> Stack:
        folder = STATE / name
        folder.mkdir(parents=True, exist_ok=True)
        workspace = Workspace(stack=name, config=folder / f"Pulumi.{name}.yaml", state=STATE)
        stack = Stack(workspace, lab_environment(facts), say, variables or {})
        stack.environment = stack.changed(**sections)
        stack.prepare()
        return stack

    return make


@pytest.fixture(scope="session")
def bare(facts: dict[str, Any], make_stack: Callable[..., Stack]) -> Cloud:
    """The lab with nothing on it, and the stack ``test``, not deployed."""
    return Cloud(make_stack("test"), facts)


@pytest.fixture(scope="session")
def cloud(bare: Cloud) -> Cloud:
    """The deployment: interrupted three times on its way, and finished."""
    stack = bare.stack
    try:
        if not any(one["urn"].endswith("::keystone-bootstrap") for one in stack.state()):
            # In the middle of a transfer, of a change of a running service, and of a Job.
            stack.kill_up("command:remote:CopyToRemote ", "-release-image")
            stack.kill_up("command:remote:Command ", f"{bare.servers[1]}-control-plane-apiserver")
            stack.kill_up("kubernetes:batch/v1:Job ", "")
        stack.up()
    except AssertionError as error:
        pytest.exit(f"not deployed: {error}", returncode=1)
    return bare


@pytest.fixture(scope="session")
def long_refusals(
    make_stack: Callable[..., Stack], bare: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Callable[[], tuple[Stack, Run]]]]:
    """Deployments to a server that does not answer, and to one that lets nobody in, begun; by their name,
    what waits for their end. A server may take minutes to boot, and so long it is tried: beside the rest."""
    key = tmp_path_factory.mktemp("key") / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    wrong: dict[str, dict[str, object]] = {
        "unreachable": {"port": REFUSED_PORT},
        "credentials": {"private_key_file": str(key)},
    }
    waits: dict[str, Callable[[], tuple[Stack, Run]]] = {}
    processes = []
    try:
        for name, change in wrong.items():
            servers = [dict(server) for server in bare.stack.environment["servers"]]
            servers[0] |= change
            stack = make_stack(f"test-{name}")
            stack.configure({**stack.environment, "servers": servers})
            started = stack.start("up", "--yes", "--skip-preview")
            processes.append(started[0])
            waits[name] = lambda stack=stack, started=started: (stack, stack.finish(*started))
        yield waits
    finally:
        for process in processes:
            process.kill()
            process.wait()
