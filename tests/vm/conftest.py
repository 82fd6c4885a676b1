"""One virtual machine as Debian's installer leaves it, with every role.

``make test-vm`` runs these in the order of their files' names. With JARVIS_KEEP_LAB=1 the machine stays
at the end, and one that is there is used as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lab"))
os.environ.setdefault("JARVIS_TEST_LAB", "jarvis-vm")
os.environ.setdefault("JARVIS_TEST_SUBNET", "10.90.0.0/24")

import deployment  # noqa: E402
from deployment import Cloud, Stack, attempt_lab, lab, lab_environment  # noqa: E402
from watching import teller  # noqa: E402

from lab import image, virtual  # noqa: E402
from lab.model import write  # noqa: E402
from tests.bench.measure import STATE, commit  # noqa: E402
from toolchain.workspace.model import Workspace  # noqa: E402

KEEP = os.environ.get("JARVIS_KEEP_LAB") == "1"
NAME = "test-vm"
# Without KVM a processor is translated, and some twenty times slower.
PATIENCE = 20
deployment.LIMIT_SECONDS = 4 * 3600


# What each test took with what it was the first to ask for, such as the deployment.
_steps: dict[str, dict[str, object]] = {}
_began = {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), "load": os.getloadavg()[0]}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds one part of a test."""
    name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    row = _steps.setdefault(name, {"what": name, "outcome": "passed", "seconds": 0.0})
    row["seconds"] = float(str(row["seconds"])) + report.duration
    if report.outcome != "passed":
        row["outcome"] = report.outcome


def pytest_sessionfinish(exitstatus: int) -> None:
    """Writes down when, of which commit, and how long: for ``python -m tests.bench table``."""
    if not _steps:
        return
    processor = virtual.accelerator(image.digest(image.VIRTUAL))[1].partition(",")[0]
    found = {**_began, "passed": exitstatus == 0, "processor": processor, "patience": PATIENCE}
    write(STATE / "vm.json", json.dumps(found | {"steps": list(_steps.values())}, indent=2) + "\n", 0o644)


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    return teller(request)


@pytest.fixture(scope="session")
def bare(say: Callable[[str], None]) -> Iterator[Cloud]:
    """The machine with nothing on it, and a stack that is not deployed."""
    assert os.geteuid() == 0, "the lab and its tests need root"
    if not KEEP:
        lab("down")
        shutil.rmtree(STATE / NAME, ignore_errors=True)
    try:
        words = ["--kind", "vm", "--count", "1", "--memory", "6g", "--disk", "30g"]
        made = attempt_lab("up", *words, *([] if KEEP else ["--owner", str(os.getpid())]))
        if made.returncode:
            pytest.exit(f"no lab: {made.stderr}", returncode=1)
        say("the virtual machine is up")
        facts = json.loads(lab("config"))
        (STATE / NAME).mkdir(parents=True, exist_ok=True)
        workspace = Workspace(stack=NAME, config=STATE / NAME / f"Pulumi.{NAME}.yaml", state=STATE)
        stack = Stack(workspace, environment(facts), say)
        stack.prepare()
        yield Cloud(stack, facts)
    finally:
        if not KEEP:
            lab("down")


def environment(facts: dict[str, object]) -> dict[str, object]:
    """That of the stack dev, without what only a server in a box needs."""
    alone = lab_environment(facts, count=1)
    alone["patience"] = PATIENCE
    alone["servers"][0]["osd"] = {"device": "/dev/vdb"}
    for section in ("kubernetes", "openstack"):
        alone.pop(section, None)
    # Each process loads its service by itself, which takes minutes where a processor is translated.
    one = {"replicas": 1, "processes": 1}
    alone["openstack"] = {"keystone": one, "glance": one}
    return alone


@pytest.fixture(scope="session")
def cloud(bare: Cloud) -> Cloud:
    """The deployment, at the first go."""
    try:
        bare.stack.up()
    except AssertionError as error:
        pytest.exit(f"not deployed: {error}", returncode=1)
    return bare
