"""A record of what the last finished ``up`` deployed, for the next run to compare with.

A Pulumi program cannot read its own state. So it writes the record into a stack output, ``OUTPUT``, and asks
the engine for the outputs at its next start, previews included. A failed run leaves the output unchanged. An
``up`` of a part (``--target``) is recorded as if it had been one of everything.
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
# The engine's own function, which pulumi.StackReference uses; that would be one more resource of the stack.
_FUNCTION = "pulumi:pulumi:readStackOutputs"
_ATTEMPTS, _AGAIN_SECONDS = 20, 0.1


class ReleaseError(pulumi.RunError):
    """The stack is of another release of Jarvis, and this one does not know its resources by their names."""


async def last_deployed() -> Mapping[str, Any]:
    """The record of the last finished ``up``; empty where there is none.

    Raises:
        ReleaseError: this release cannot take the stack.
    """
    stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    outputs = (await _ask(stack)).get("outputs", {})
    check_release(outputs)
    found = outputs.get(OUTPUT)
    return found if isinstance(found, Mapping) else {}


def check_release(outputs: Mapping[str, Any], own: str = VERSION, oldest: tuple[int, int] = OLDEST) -> None:
    """Compares the release that ran last on a stack with this one.

    The engine knows a renamed resource by its alias alone: without it the old one goes, with its data, and a
    new one is made.

    Args:
        outputs: outputs of the stack; empty where nothing has been deployed.
        own: this release, such as ``0.1.0``.
        oldest: the oldest minor release whose stacks it takes.

    Raises:
        ReleaseError: the stack is of an older release, or of a later minor one.
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
    """The stack's outputs, as the engine reads them from the backend.

    A backend that writes state files in place (``file://`` without ``?metadata=skip``, for its sidecar) lets
    a reader find one empty. That error is retried, at most ``_ATTEMPTS`` times.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return await pulumi.runtime.invoke_async(_FUNCTION, {"name": stack}) or {}
        except Exception as error:  # the SDK has no other type for it
            if "EOF" not in str(error):
                raise
            await asyncio.sleep(_AGAIN_SECONDS)
    return await pulumi.runtime.invoke_async(_FUNCTION, {"name": stack}) or {}
