"""Thirty servers in a box that have one role each and nothing else: what it costs to look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.bench.peers.measure import jarvis, timed, verify, verify_looking
from tests.bench.peers.role import write_role

SERVERS = 30
# The lab gives each box a cap, not what it takes: a bare server uses some 50 MiB.
MEMORY = "1g"


def look_at_many(
    facts: Mapping[str, Any],
    folder: Path,
    state: Path,
    do: Callable[[str], str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Seconds of a first `pulumi up`, of an unchanged one, and of a preview that asks all servers.

    ``facts``: what ``python -m lab config`` prints. ``do`` runs a command on the first server.
    """
    role = write_role("many-role", folder / "many")
    tool = jarvis(role, facts, folder, state)
    found = timed(f"{len(facts['servers'])} servers", tool, say)
    verify(role, do)
    verify_looking(role, tool, do)
    return {"servers": len(facts["servers"]), **found}
