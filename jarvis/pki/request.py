"""Requests to the generator of secrets: the text that decides whether a secret is made anew.

A secret is kept as long as its request stays the same, byte by byte. So the fields of each kind stand here,
apart from the code that reads them. Those of ``FIRST`` are in every request, and in the state of deployed
stacks. A field that is added later goes into ``ADDED``, with the value that means "as before": a request
omits the field where it has that value, and requests of deployed stacks stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST: Mapping[str, frozenset[str]] = {
    "authority": frozenset({"common_name", "generation"}),
    "certificate": frozenset(
        {
            "authority",
            "common_name",
            "organizations",
            "dns_names",
            "addresses",
            "client",
            "server",
            "period",
            "rotation",
        }
    ),
    "keypair": frozenset({"generation"}),
    "password": frozenset({"length", "rotation"}),
    "random-key": frozenset({"bytes", "encoding", "rotation"}),
}
# Fields that were added later, by kind, each with its value in requests that omit it.
ADDED: Mapping[str, Mapping[str, Any]] = {"certificate": {"days": 365}}


def request(kind: str, **fields: Any) -> dict[str, Any]:
    """The request for a secret.

    Args:
        kind: see ``FIRST``.
        **fields: values, which may be Outputs.

    Raises:
        ValueError: the contract lacks the kind or a field, or a field is missing.
    """
    if kind not in FIRST:
        raise ValueError(f"no secret is of the kind {kind!r}")
    added = ADDED.get(kind, {})
    wrong = sorted((FIRST[kind] - fields.keys()) | (fields.keys() - FIRST[kind] - added.keys()))
    if wrong:
        raise ValueError(f"a request for a secret of the kind {kind} lacks or does not know {wrong}")
    kept = {name: value for name, value in fields.items() if name not in added or value != added[name]}
    return {"kind": kind, **kept}


def complete(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The request ``asked`` with the fields that it omits, as the generator reads it."""
    return {**ADDED.get(str(asked["kind"]), {}), **asked}
