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

OUTPUT = "deployed"
# Of the engine itself, as pulumi.StackReference uses it; that would be one more resource of the stack.
_FUNCTION = "pulumi:pulumi:readStackOutputs"
_ATTEMPTS, _AGAIN_SECONDS = 20, 0.1


async def last_deployed() -> Mapping[str, Any]:
    """What ``OUTPUT`` had at the end of the last ``up`` that was finished; empty where there was none."""
    stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    found = (await _ask(stack)).get("outputs", {}).get(OUTPUT)
    return found if isinstance(found, Mapping) else {}


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
