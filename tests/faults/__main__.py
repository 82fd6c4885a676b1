"""``python -m tests.faults``: tries each fault on a deployment of its own, writes ``.jarvis/faults.json``.

``python -m tests.faults NAME...`` tries those whose name matches a pattern, ``table`` prints the last results
as the document ``docs/reliability.md``. JARVIS_KEEP_LAB=1 keeps the deployment, and uses one that is there.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.bench.measure import STATE, commit, machine, say
from tests.faults.catalogue import faults
from tests.faults.fault import attempt, verdict
from tests.faults.report import line, markdown
from tests.lab.deployment import Cloud, Stack, lab, lab_environment
from toolchain.workspace.model import Workspace
from toolchain.workspace.stack import StackError

FILE = STATE / "faults.json"
KEEP = os.environ.get("JARVIS_KEEP_LAB") == "1"


def save(figures: dict[str, Any]) -> None:
    part = FILE.with_suffix(".part")
    part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    part.replace(FILE)


@contextmanager
def deployment() -> Iterator[Cloud]:
    """The cloud in the tests' lab."""
    if not KEEP:
        lab("down")
        shutil.rmtree(STATE / "test", ignore_errors=True)
    try:
        lab("up", *([] if KEEP else ["--owner", str(os.getpid())]))
        facts = json.loads(lab("config"))
        workspace = Workspace(stack="test", config=STATE / "test" / "Pulumi.test.yaml", state=STATE)
        workspace.folder.mkdir(parents=True, exist_ok=True)
        cloud = Cloud(Stack(workspace, lab_environment(facts), say), facts)
        cloud.stack.prepare()
        cloud.stack.up()
        yield cloud
    finally:
        if not KEEP:
            lab("down")


def run(patterns: list[str]) -> int:
    """Tries the faults; 1 when one lost something or did not heal. Results of others are kept."""
    figures: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "faults": json.loads(FILE.read_text(encoding="utf-8"))["faults"]
        if patterns and FILE.exists()
        else [],
    }
    failed = 0
    with deployment() as cloud:
        found = list(faults(cloud))
        chosen = [
            fault for fault in found if not patterns or any(fnmatch.fnmatch(fault.name, p) for p in patterns)
        ]
        if not chosen:
            raise AssertionError(f"no such fault; there are: {', '.join(fault.name for fault in found)}")
        order = [fault.name for fault in found]
        for at, fault in enumerate(chosen, 1):
            say(f"[{at}/{len(chosen)}] {fault.title}")
            row = attempt(cloud, fault) | {"commit": figures["commit"]}
            wrong = verdict(row)
            failed += bool(wrong)
            say(f"    {' | '.join(line(row)[1:])}{'  WRONG: ' + wrong if wrong else ''}")
            rows = {each["name"]: each for each in figures["faults"]} | {fault.name: row}
            # What this deployment has no more, an earlier one had.
            figures["faults"] = [rows[name] for name in order if name in rows]
            save(figures)
    say(f"{len(chosen)} faults, {failed} with losses or not healed; written to {FILE.name}")
    return 1 if failed else 0


def main(words: list[str]) -> int:
    """The program; returns its exit status."""
    try:
        if words == ["table"]:
            if not FILE.exists():
                raise StackError(f"there are no results in {FILE}; measure them with: make test-faults")
            sys.stdout.write(markdown(json.loads(FILE.read_text(encoding="utf-8"))))
            return 0
        if os.geteuid() != 0:
            raise StackError("the lab needs root")
        if not (STATE / "artifacts.json").exists():
            raise StackError("there are no artifacts; make them with: make tools artifacts")
        return run(words)
    except (StackError, AssertionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the lab is cleared by the next run", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
