"""Who owns which field of an object of Kubernetes, as pure functions on ``metadata.managedFields``.

Paths of fields are compared. Their values are not even asked for, so no text has anything of a Secret. The
rules are https://kubernetes.io/docs/reference/using-api/server-side-apply/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from jarvis.config.field_path import Path, spelled
from jarvis.kubernetes.managed_fields import OURS, ancestors, members, tree


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A field that another manager may write into objects of Jarvis.

    Attributes:
        manager: pattern of the manager's name, as in ``fnmatch``.
        path: patterns, one for each step of the field's path. All below it is allowed too.
        why: the reason.
    """

    manager: str
    path: Path
    why: str


_ANNOTATIONS = ("f:metadata", "f:annotations")
RIGHTLY = (
    Rule(manager="*", path=("f:status",), why="what is, and not what shall be"),
    Rule(
        manager="kube-controller-manager",
        path=(*_ANNOTATIONS, "f:deployment.kubernetes.io/*"),
        why="it numbers the revisions of a Deployment",
    ),
    Rule(
        manager="*",
        path=("f:spec", "f:template", *_ANNOTATIONS, "f:kubectl.kubernetes.io/restartedAt"),
        why="of `kubectl rollout restart`, which is done; taken back, it would replace all pods once more",
    ),
    Rule(
        manager="jarvis-keys",
        path=(*_ANNOTATIONS, "f:jarvis.internal/*"),
        why="the Jobs that make and rotate keys note there when they did (rotate_keys.py)",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Owned:
    """The fields of an object that one manager owns.

    Attributes:
        manager: name of the manager.
        time: when it last wrote, as the API spells it.
        paths: the fields.
        status: they were written through the subresource of that name.
    """

    manager: str
    time: str
    paths: frozenset[Path]
    status: bool = False


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The fields of an object that are ours after an ``up``.

    Attributes:
        time: when we last changed the object.
        paths: the fields.
    """

    time: str
    paths: frozenset[Path]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The drift of an object.

    Attributes:
        sentences: the findings.
        take: fields to take from other managers, since no update of the object would remove them.
        deleted: the object is not there.
    """

    sentences: tuple[str, ...] = ()
    take: frozenset[Path] = frozenset()
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Live:
    """An object as it is now.

    Attributes:
        owners: who owns which of its fields.
    """

    owners: Sequence[Owned] = field(default_factory=tuple)

    def ours(self) -> Ours | None:
        """The fields that are ours; ``None`` where none is."""
        own = [one for one in self.owners if one.manager.startswith(OURS) and not one.status]
        if not own:
            return None
        return Ours(
            time=" ".join(sorted(one.time for one in own)),
            paths=frozenset().union(*(one.paths for one in own)),
        )


def read_live(metadata: Mapping[str, Any]) -> Live:
    """Reads the owners in an object's ``metadata``."""
    return Live(
        owners=[
            Owned(
                manager=str(entry.get("manager", "")),
                time=str(entry.get("time", "")),
                paths=frozenset(members(entry.get("fieldsV1") or {})),
                status=entry.get("subresource") == "status",
            )
            for entry in metadata.get("managedFields") or ()
        ]
    )


def judge(live: Live | None, before: Ours | None, ignored: Sequence[Path] = ()) -> Found:
    """Compares an object with what was deployed.

    Args:
        live: the object; ``None`` where there is none.
        before: the fields that were ours after the last finished ``up``; ``None`` where no record tells.
        ignored: fields that are not ours, with all below them.
    """
    if live is None:
        return Found(sentences=("deleted",), deleted=True) if before else Found()
    own = live.ours()
    now = own.paths if own else frozenset()
    # Where we applied again since the record, as in an `up` that failed, it does not tell what was ours.
    known = before if before and (own is None or own.time == before.time) else None
    if own is None and known is None:
        # Never applied: somebody else's object, which an `up` is about to take up.
        return Found()

    foreign: dict[Path, Owned] = {}
    for one in sorted(live.owners, key=lambda one: one.time):
        if not one.status and not one.manager.startswith(OURS):
            new = {path for path in one.paths - now if not _in(path, ignored)}
            foreign |= {path: one for path in new if not _rightly(one.manager, path)}
    lost = {path for path in known.paths - now if not _in(path, ignored)} if known else set()
    # An `up` that was cut off has taken them and not removed them yet.
    kept = {path for path in now - known.paths if not _in(path, ignored)} if known else set()

    take = frozenset(path for path in foreign if path not in lost)
    if own is None:
        last = max(live.owners, key=lambda one: one.time, default=None)
        by = f": {last.manager} wrote it last{_at(last.time)}" if last else ""
        return Found(sentences=(f"nothing of it is Jarvis' any more{by}",), take=take)
    present = now - kept
    present |= ancestors(present)
    told: dict[Path, str] = {}
    for path in sorted({*foreign, *lost, *kept}):
        what = _named(path, present)
        owner = foreign.get(path)
        if owner is None:
            sentence = "removed" if path in lost else "added, and left there by an up that was cut off"
        else:
            did = ("changed" if path in lost else "added") if known else "set"
            sentence = f"{did} by {owner.manager}{_at(owner.time)}"
        if what not in told or owner is not None:
            told[what] = sentence
    # A map is told by what is in it.
    above = ancestors(told)
    return Found(
        sentences=tuple(f"{spelled(path)}: {said}" for path, said in told.items() if path not in above),
        take=take,
    )


def _in(path: Path, places: Iterable[Path]) -> bool:
    """Whether ``path`` is one of ``places``, or below one."""
    return any(path[: len(place)] == place for place in places)


def _rightly(manager: str, path: Path) -> bool:
    """Whether a rule lets ``manager`` own ``path``: its field, or one below, or the annotations above."""
    for rule in RIGHTLY:
        if fnmatchcase(manager, rule.manager):
            both = min(len(path), len(rule.path))
            if all(fnmatchcase(path[at], rule.path[at]) for at in range(both)) and (
                len(path) >= len(rule.path) or path[-1] == "f:annotations"
            ):
                return True
    return False


def _named(path: Path, present: set[Path] | frozenset[Path]) -> Path:
    """The path that a finding names: ``path``, or the element of a list that came or went with it.

    Args:
        path: the field.
        present: the paths that are ours, with those above them; without what a cut-off ``up`` took and left.
    """
    for length in range(1, len(path)):
        if path[:length] not in present and path[length - 1][:2] in ("k:", "v:"):
            return path[:length]
    return path


def _at(time: str) -> str:
    """The API's ``time`` in the form `` 2026-11-23 13:10 UTC``; empty where the API has none."""
    return f" {time[:10]} {time[11:16]} UTC" if len(time) >= 16 else ""


def to_text(paths: Iterable[Path]) -> str:
    """Writes ``paths`` as a compact and deterministic text, which ``from_text`` reads."""
    return json.dumps(tree(paths), separators=(",", ":"), sort_keys=True)


def from_text(text: str) -> frozenset[Path]:
    """Reads the paths that ``to_text`` wrote.

    Raises:
        ValueError: the text is something else.
    """
    return frozenset(members(json.loads(text)))
