"""What the last finished ``up`` of this stack has deployed, as far as the next one must know it.

The program cannot see its state. It writes what it needs to know into an output of the stack, ``OUTPUT``, and
asks the engine for the outputs at its next start, in a preview too. A run that fails leaves the output as it
was; so does not an ``up`` of a part (``--target``), which is recorded as if it had been one of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

OUTPUT = "deployed"
# Of the engine itself, as pulumi.StackReference uses it; that would be one more resource of the stack.
_FUNCTION = "pulumi:pulumi:readStackOutputs"


async def last_deployed() -> Mapping[str, Any]:
    """What ``OUTPUT`` had at the end of the last ``up`` that was finished; empty where there was none."""
    stack = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    answer = await pulumi.runtime.invoke_async(_FUNCTION, {"name": stack})
    found = (answer or {}).get("outputs", {}).get(OUTPUT)
    return found if isinstance(found, Mapping) else {}
