"""The fields of an object without some of them, which another manager owns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi

from jarvis.config.field_path import Path


def without(value: Any, path: Path) -> Any:
    """``value`` without what is at ``path``; as it is where nothing is. Outputs on the way stay Outputs."""
    if isinstance(value, pulumi.Output):
        return value.apply(lambda known: without(known, path))
    step, rest = path[0], path[1:]
    if isinstance(value, list) and step.startswith("k:"):
        keys = json.loads(step[2:])
        out = []
        for one in value:
            if not (isinstance(one, Mapping) and all(one.get(key) == want for key, want in keys.items())):
                out.append(one)
            elif rest:
                out.append(without(one, rest))
        return out
    name = step[2:]
    if not isinstance(value, Mapping) or name not in value:
        return value
    if rest:
        return {**value, name: without(value[name], rest)}
    return {key: each for key, each in value.items() if key != name}
