"""What the last finished ``up`` of this stack has deployed, as far as the next one must know it.

The program cannot see its state. It writes what it needs to know into an output of the stack, ``OUTPUT``, and
asks the engine for the outputs at its next start, in a preview too. A run that fails leaves the output as it
was; so does not an ``up`` of a part (``--target``), which is recorded as if it had been one of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pulumi

from jarvis import VERSION

OUTPUT = "deployed"
# The release that ran last, whether its run was finished or not.
RELEASE = "jarvis"
# The oldest minor release whose stacks this one takes: aliases lead from the names that resources had since.
OLDEST = (0, 1)
# Of stacks with a record by which no release is named: those of the development of 0.1.
_UNRECORDED = "0.1.0"
# The last commit that takes stacks without a record.
_BRIDGE = "65d5d48"
# Of the engine itself, as pulumi.StackReference uses it; that would be one more resource of the stack.
_FUNCTION = "pulumi:pulumi:readStackOutputs"
_ATTEMPTS, _AGAIN_SECONDS = 20, 0.1


class ReleaseError(pulumi.RunError):
    """The stack is of another release of Jarvis, and this one does not know its resources by their names."""


async def last_deployed() -> Mapping[str, Any]:
    """What ``OUTPUT`` had at the end of the last ``up`` that was finished; empty where there was none.

    Raises ``ReleaseError`` where this release cannot take the stack.
    """
    stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    outputs = (await _ask(stack)).get("outputs", {})
    check_release(outputs)
    found = outputs.get(OUTPUT)
    return found if isinstance(found, Mapping) else {}


def check_release(outputs: Mapping[str, Any], own: str = VERSION, oldest: tuple[int, int] = OLDEST) -> None:
    """Compares the release that made ``outputs``, those of the stack, with this one.

    A resource that was renamed is the same one to the engine by an alias alone. Without it the old one, with
    its data, goes, and a new one is made.

    Raises ``ReleaseError`` where the stack is of a release before ``oldest``, or of a later minor one than
    ``own``. Nothing has been deployed where there is no output at all.
    """
    if not outputs:
        return
    deployed = str(outputs.get(RELEASE, "")) or (_UNRECORDED if OUTPUT in outputs else "")
    if not deployed:
        raise ReleaseError(
            "this stack was deployed before Jarvis 0.1, and resources have been renamed since; nothing has"
            f" been changed. Go by way of a commit that knows both names: git checkout {_BRIDGE}, make tools"
            " artifacts, pulumi up; then go on with this one"
        )
    if _minor(deployed) > _minor(own):
        raise ReleaseError(
            f"this stack was deployed by Jarvis {deployed}, and this is {own}, which may not know its"
            f" resources by their names; nothing has been changed. Take {deployed} or a later one"
        )
    if _minor(deployed) < oldest:
        first = ".".join(map(str, oldest))
        raise ReleaseError(
            f"this stack was deployed by Jarvis {deployed}, and {own} takes stacks of {first} and later;"
            f" nothing has been changed. Take {first} first: pulumi up, then go on with this one"
        )


def _minor(version: str) -> tuple[int, int]:
    major, minor, _ = version.split(".", 2)
    return int(major), int(minor)


async def _ask(stack: str) -> Mapping[str, Any]:
    """The answer of the engine, which reads a file that it may be writing: a backend that keeps a sidecar for
    each file (a ``file://`` one without ``?metadata=skip``) writes it in place, and who reads may find it
    empty."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await pulumi.runtime.invoke_async(_FUNCTION, {"name": stack}) or {}
        except Exception as error:  # the SDK has no other type for it
            if "EOF" not in str(error):
                raise
            await asyncio.sleep(_AGAIN_SECONDS)
    return await pulumi.runtime.invoke_async(_FUNCTION, {"name": stack}) or {}
