"""Fields in the form ``fieldsV1`` of ``metadata.managedFields`` as sets of paths, and back.

It imports the standard library alone: ``take_back.py`` uses it outside the program too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Under names that begin so Pulumi's provider applies (with some digits of each object's own) and creates.
OURS = ("pulumi-kubernetes", "pulumi-resource-kubernetes")

Path = tuple[str, ...]


def members(fields: Mapping[str, Any], at: Path = ()) -> set[Path]:
    """The paths that ``fields``, in the form ``fieldsV1``, has as members."""
    found: set[Path] = set()
    for step, inside in fields.items():
        if step == ".":
            found.add(at)
        elif inside:
            found |= members(inside, (*at, step))
        else:
            found.add((*at, step))
    return found


def tree(paths: Iterable[Path]) -> dict[str, Any]:
    """The other way: ``fieldsV1`` of ``paths``."""
    out: dict[str, Any] = {}
    whole = set(paths)
    above = ancestors(whole)
    for path in sorted(whole):
        at = out
        for step in path:
            at = at.setdefault(step, {})
        if path in above:
            at["."] = {}
    return out


def ancestors(paths: Iterable[Path]) -> set[Path]:
    """What is above one of ``paths``."""
    return {path[:length] for path in paths for length in range(len(path))}
