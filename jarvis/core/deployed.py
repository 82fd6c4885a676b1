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

OUTPUT = "deployed"
# The engine's own function, which pulumi.StackReference uses; that would be one more resource of the stack.
_FUNCTION = "pulumi:pulumi:readStackOutputs"
_ATTEMPTS, _AGAIN_SECONDS = 20, 0.1


async def last_deployed() -> Mapping[str, Any]:
    """The record of the last finished ``up``; empty where there is none."""
    stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    found = (await _ask(stack)).get("outputs", {}).get(OUTPUT)
    return found if isinstance(found, Mapping) else {}


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
