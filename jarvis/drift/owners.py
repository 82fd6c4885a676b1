"""Who owns which field of an object of Kubernetes, as pure functions on ``metadata.managedFields``.

Paths of fields are compared, never their values, which are not even asked for: so nothing of a Secret is in
any text. https://kubernetes.io/docs/reference/using-api/server-side-apply/ has the rules.
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
    """A field that ``manager`` rightly writes into objects of others, and why; its steps are patterns."""

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
    """What a manager owns of an object: ``paths``, written by ``manager`` at ``time``, as the API spells it.
    ``status``: by the subresource of that name."""

    manager: str
    time: str
    paths: frozenset[Path]
    status: bool = False


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What is ours of an object after an ``up``: ``paths``, and ``time``, when we changed that last."""

    time: str
    paths: frozenset[Path]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is wrong with an object, in ``sentences``. ``take``: fields to take from others, since no update
    of the object would remove them. ``deleted``: it is not there."""

    sentences: tuple[str, ...] = ()
    take: frozenset[Path] = frozenset()
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Live:
    """An object as it is: who owns what."""

    owners: Sequence[Owned] = field(default_factory=tuple)

    def ours(self) -> Ours | None:
        """What is ours; ``None`` where nothing is."""
        own = [one for one in self.owners if one.manager.startswith(OURS) and not one.status]
        if not own:
            return None
        return Ours(
            time=" ".join(sorted(one.time for one in own)),
            paths=frozenset().union(*(one.paths for one in own)),
        )


def read_live(metadata: Mapping[str, Any]) -> Live:
    """The owners in an object's ``metadata``."""
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
    """What of an object is another than what was deployed.

    Args:
        live: the object; ``None`` where there is none.
        before: what was ours after the last finished ``up``; ``None`` where no record tells.
        ignored: fields that are none of ours, with all below them.
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
    return any(path[: len(place)] == place for place in places)


def _rightly(manager: str, path: Path) -> bool:
    """Whether ``manager`` may own ``path``: by a rule, or as a map on the way to what a rule has."""
    for rule in RIGHTLY:
        if fnmatchcase(manager, rule.manager):
            both = min(len(path), len(rule.path))
            if all(fnmatchcase(path[at], rule.path[at]) for at in range(both)) and (
                len(path) >= len(rule.path) or path[-1] == "f:annotations"
            ):
                return True
    return False


def _named(path: Path, present: set[Path] | frozenset[Path]) -> Path:
    """What a sentence names: ``path``, or the whole element of a list that is new, or gone, with it."""
    for length in range(1, len(path)):
        if path[:length] not in present and path[length - 1][:2] in ("k:", "v:"):
            return path[:length]
    return path


def _at(time: str) -> str:
    """`` 2026-11-23 13:10 UTC`` of what the API says; empty where it says none."""
    return f" {time[:10]} {time[11:16]} UTC" if len(time) >= 16 else ""


def to_text(paths: Iterable[Path]) -> str:
    """``paths`` as a text that is small and always the same; ``from_text`` takes it back."""
    return json.dumps(tree(paths), separators=(",", ":"), sort_keys=True)


def from_text(text: str) -> frozenset[Path]:
    """The paths of ``to_text``. Raises ``ValueError`` for another text."""
    return frozenset(members(json.loads(text)))
