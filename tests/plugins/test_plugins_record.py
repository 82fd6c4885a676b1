"""What the program records of a deployment, before the real engine: the next run reads it."""

from __future__ import annotations

from pulumi_cli import ROOT, Run, Stack

PROGRAM = """
import sys
sys.path.insert(0, root)
from pulumi_command.local import Command
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.core.sdk import settled

async def program():
    pulumi.log.info(f"before: {dict(await last_deployed())}")
    Command("work", create=work)
    return {"other": pulumi.Output.secret("x"), **({OUTPUT: {"turn": turn}} if await settled() else {})}

pulumi.run(program)
"""


def told(run: Run) -> str:
    (text,) = [line.partition("before: ")[2] for line in run.progress() if "before: " in line]
    return text.strip()


def test_a_run_knows_what_the_last_finished_one_deployed(stack: Stack) -> None:
    def write(turn: int, work: str = "true") -> None:
        stack.write(PROGRAM, {"root": str(ROOT), "turn": turn, "work": work})

    write(1)
    assert told(stack.preview()) == "{}"
    assert told(stack.up()) == "{}"
    write(2)
    # An output is no resource: a preview finds it changed and nothing else.
    assert told(stack.preview("--expect-no-changes")) == "{'turn': 1.0}"
    write(2, "false")
    assert told(stack.up(succeed=False)) == "{'turn': 1.0}"
    write(2)
    assert told(stack.up()) == "{'turn': 1.0}"
    stack.refresh()
    assert told(stack.preview()) == "{'turn': 2.0}"
    stack.destroy()
    assert told(stack.preview()) == "{}"
