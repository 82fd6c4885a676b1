"""The difference of two sets of inputs, in the shape the engine shows and acts on (detailedDiff)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from toolchain.plugins.common.values import UNKNOWN, Archive, Asset, Secret, Value

_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")


class Kind(Enum):
    """What happened to a property; `replace` says whether the object must be made anew for it."""

    ADD = "ADD"
    DELETE = "DELETE"
    UPDATE = "UPDATE"


@dataclass
class Diff:
    """What a provider answers to "what would change?".

    Attributes:
        changes: property path ("spec.replicas", "triggers[0]", 'data["a.b"]') to its kind.
        replaces: paths (members of `changes`, or top-level names) that force a replacement.
        delete_before_replace: the old object must go before the new one can come.
        stables: properties that no update changes.
        input_diff: the changes are between old and new inputs; false: between old outputs and new inputs.
        inputs: paths of changes that are between old and new inputs, whatever `input_diff` says.
        changed: overrides whether anything changed (None: when `changes` is not empty).
    """

    changes: dict[str, Kind] = field(default_factory=dict)
    replaces: set[str] = field(default_factory=set)
    delete_before_replace: bool = False
    stables: list[str] = field(default_factory=list)
    input_diff: bool = False
    inputs: set[str] = field(default_factory=set)
    changed: bool | None = None


def child(path: str, key: str) -> str:
    """The path of a member `key` of the object at `path`, quoted where it is not a plain name."""
    if _PLAIN_KEY.match(key):
        return f"{path}.{key}" if path else key
    quoted = key.replace('"', '\\"')
    return f'{path}["{quoted}"]'


def top_level(path: str) -> str:
    """The name of the top-level property a path lies in."""
    if path.startswith('["'):
        return path[2 : path.index('"]')]
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def compare(old: Value, new: Value, path: str = "") -> dict[str, Kind]:
    """Property paths that differ between two values, with their kinds.

    A null is the same as an absent member. A secret is one value: its inside is never named in a path, and
    whether a value is secret is no difference by itself. An unknown differs from everything known. Assets
    and archives are compared by their hashes.
    """
    if isinstance(old, Secret) or isinstance(new, Secret):
        if _same(old, new):
            return {}
        return {path: _kind(old, new)}
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        out: dict[str, Kind] = {}
        for key in sorted(set(old) | set(new)):
            out.update(compare(old.get(key), new.get(key), child(path, key)))
        return out
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        out = {}
        for index in range(max(len(old), len(new))):
            left = old[index] if index < len(old) else None
            right = new[index] if index < len(new) else None
            out.update(compare(left, right, f"{path}[{index}]"))
        return out
    return {} if _same(old, new) else {path: _kind(old, new)}


def _kind(old: Value, new: Value) -> Kind:
    if old is None:
        return Kind.ADD
    return Kind.DELETE if new is None else Kind.UPDATE


def _same(old: Value, new: Value) -> bool:
    if isinstance(old, Secret):
        old = old.value
    if isinstance(new, Secret):
        new = new.value
    if old is UNKNOWN or new is UNKNOWN:
        return False
    if isinstance(old, Asset | Archive) and type(old) is type(new) and old.hash and new.hash:
        return bool(old.hash == new.hash)
    if isinstance(old, bool) != isinstance(new, bool):
        return False
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = set(old) | set(new)
        return all(_same(old.get(key), new.get(key)) for key in keys)
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return len(old) == len(new) and all(_same(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def names(paths: Iterable[str]) -> list[str]:
    """The sorted top-level properties of some paths."""
    return sorted({top_level(path) for path in paths})
