"""Protection before the real engine: what it refuses, and how what is named may go."""

from __future__ import annotations

from pulumi_cli import ROOT, Run, Stack

PROGRAM = """
import sys
sys.path.insert(0, root)
from pulumi_command.local import Command
from jarvis.config.safety import Safety
from jarvis.core import safety
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.core.sdk import settled

async def program():
    before = await last_deployed()
    safety.begin(Safety(protect=protect, may_remove=may_remove))
    for name in servers:
        kept = safety.guard(f"etcd-{name}", f"etcd on {name}", name)
        Command(f"etcd-{name}", create="true", delete="true", triggers=[trigger],
            opts=pulumi.ResourceOptions(protect=kept))
        Command(f"file-{name}", create="true")
    safety.check(before.get("kept", {}))
    return {OUTPUT: pulumi.Output.secret({"kept": safety.kept()})} if await settled() else {}

pulumi.run(program)
"""


def write(
    stack: Stack, *servers: str, protect: bool = True, may_remove: tuple[str, ...] = (), trigger: int = 0
) -> None:
    told = {"servers": servers, "may_remove": may_remove, "protect": protect, "trigger": trigger}
    stack.write(PROGRAM, {"root": str(ROOT), **told})


def protected(stack: Stack) -> set[str]:
    return {name for name, one in stack.resources().items() if one.get("protect")}


def errors(run: Run) -> list[str]:
    """The errors that were told, without the engine's own summary."""
    told = [event["diagnosticEvent"] for event in run.events if "diagnosticEvent" in event]
    found = [one["message"].strip() for one in told if one["severity"] == "error"]
    return [text for text in found if "non-zero exit code" not in text and text != "preview failed"]


def test_turning_protection_on_and_off_changes_nothing_else(stack: Stack) -> None:
    write(stack, "a", protect=False)
    stack.up()
    assert protected(stack) == set()
    for protect, names in ((True, {"etcd-a"}), (False, set())):
        write(stack, "a", protect=protect)
        stack.preview("--expect-no-changes")
        stack.up("--expect-no-changes")
        assert protected(stack) == names


def test_what_is_lost_ends_the_preview_and_what_is_named_goes_in_one_change(stack: Stack) -> None:
    write(stack, "a", "b", "c")
    stack.up()
    assert protected(stack) == {"etcd-a", "etcd-b", "etcd-c"}

    write(stack, "a")
    (error,) = errors(stack.preview(succeed=False))
    assert "  etcd on b\n  etcd on c\n" in error
    assert "[b, c]" in error
    stack.up(succeed=False)
    assert protected(stack) == {"etcd-a", "etcd-b", "etcd-c"}
    # Who turns protection off is held by the engine, until an `up` of that alone.
    write(stack, "a", protect=False)
    assert any("cannot be deleted" in text for text in errors(stack.preview(succeed=False)))

    write(stack, "a", "c", may_remove=("b",))
    refused = stack.preview(succeed=False)
    assert any("pulumi up --ignore-protect" in text for text in refused.progress())
    gone = stack.up("--ignore-protect").steps()
    assert {name for name, step in gone.items() if step == "delete"} == {"etcd-b", "file-b"}
    assert protected(stack) == {"etcd-a", "etcd-c"}

    (error,) = errors(stack.preview(succeed=False))
    assert "nothing that is protected is called b" in error
    write(stack, "a", "c")
    stack.preview("--expect-no-changes")


def test_what_was_named_before_goes_by_a_plain_up(stack: Stack) -> None:
    write(stack, "a", "b")
    stack.up()
    write(stack, "a", "b", may_remove=("b",))
    stack.up("--expect-no-changes")
    assert protected(stack) == {"etcd-a"}
    write(stack, "a", may_remove=("b",))
    stack.up()
    assert set(stack.resources()) == {"etcd-a", "file-a"}


def test_a_member_is_made_anew_only_where_it_is_named(stack: Stack) -> None:
    write(stack, "a", "b")
    stack.up()
    write(stack, "a", "b", trigger=1)
    assert any("unable to replace" in text for text in errors(stack.preview(succeed=False)))
    write(stack, "a", "b", trigger=1, may_remove=("a", "b"))
    steps = stack.up().steps()
    assert (steps["etcd-a"], steps["etcd-b"], steps["file-a"]) == ("replace", "replace", "same")
    write(stack, "a", "b", trigger=1)
    stack.up("--expect-no-changes")
    assert protected(stack) == {"etcd-a", "etcd-b"}


def test_a_protected_stack_is_destroyed_only_on_purpose(stack: Stack) -> None:
    write(stack, "a")
    stack.up()
    stack.destroy(succeed=False)
    assert "etcd-a" in stack.resources()
    write(stack, "a", protect=False)
    stack.up()
    stack.destroy()
    assert stack.resources() == {}
