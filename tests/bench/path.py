"""The critical path of a deployment, out of the engine's events and the state, as pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One resource that was made: ``start`` and ``end`` in seconds after the engine's first event.

    ``component`` is the topmost component that it belongs to, such as ``etcd:Cluster etcd``.
    """

    urn: str
    name: str
    component: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Leg:
    """A step of the critical path. ``waited``: seconds between what it waited for and its own start."""

    step: Step
    waited: int


def steps(events: Iterable[Mapping[str, Any]], resources: Iterable[Mapping[str, Any]]) -> dict[str, Step]:
    """What was done to each custom resource, by its URN. ``events``: the engine's log, whose times are whole
    seconds. ``resources``: of the state afterwards."""
    known = {one["urn"]: one for one in resources}
    began: dict[str, int] = {}
    found: dict[str, Step] = {}
    zero: int | None = None
    for event in events:
        moment = int(event["timestamp"])
        zero = moment if zero is None else zero
        for kind in ("resourcePreEvent", "resOutputsEvent"):
            metadata = event.get(kind, {}).get("metadata")
            if metadata is None or metadata["op"] in ("same", "read", "refresh"):
                continue
            urn = metadata["urn"]
            if not known.get(urn, {}).get("custom"):
                continue
            if kind == "resourcePreEvent":
                began.setdefault(urn, moment - zero)
            elif urn in began:
                found[urn] = Step(
                    urn=urn,
                    name=_name(urn),
                    component=component(urn, known),
                    start=began[urn],
                    end=moment - zero,
                )
    return found


def component(urn: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """The topmost component above ``urn``, as ``<module>:<Type> <name>``; itself where there is none."""
    top = urn
    while (parent := known.get(top, {}).get("parent")) and parent in known and _kind(parent) != _STACK:
        top = parent
    return f"{_kind(top).removeprefix('jarvis:')} {_name(top)}"


def _name(urn: str) -> str:
    return urn.split("::")[-1]


def _kind(urn: str) -> str:
    return urn.split("::")[-2].split("$")[-1]


def gates(resources: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """By URN: the custom resources that it waits for: its own dependencies, those of the components that it
    is in, and its provider's. A component among them stands for all that is in it."""
    known = {one["urn"]: one for one in resources}
    children: dict[str, set[str]] = defaultdict(set)
    for urn, one in known.items():
        if one.get("parent"):
            children[one["parent"]].add(urn)

    def inside(urn: str) -> set[str]:
        if known.get(urn, {}).get("custom"):
            return {urn}
        return {leaf for child in children[urn] for leaf in inside(child)}

    found: dict[str, set[str]] = {}
    for urn, one in known.items():
        named: set[str] = set()
        at: Mapping[str, Any] | None = one
        while at is not None:
            named.update(at.get("dependencies") or ())
            for by_property in (at.get("propertyDependencies") or {}).values():
                named.update(by_property or ())
            at = known.get(at.get("parent") or "")
        provider = (one.get("provider") or "").rpartition("::")[0]
        if provider in known:
            named.add(provider)
        found[urn] = {leaf for each in named for leaf in inside(each)} - {urn}
    return found


def critical_path(made: Mapping[str, Step], waits: Mapping[str, set[str]]) -> list[Leg]:
    """The chain of steps that ends with the last one: before each, the one among those it waits for that
    ended last. Empty where nothing was made."""
    if not made:
        return []
    path: list[Leg] = []
    seen: set[str] = set()
    at = max(made.values(), key=lambda step: (step.end, step.start, step.urn))
    while True:
        seen.add(at.urn)
        before = [made[urn] for urn in waits.get(at.urn, ()) if urn in made and urn not in seen]
        # Whole seconds: what ended in the second in which this began came before it.
        before = [step for step in before if step.end <= at.start]
        if not before:
            return [Leg(step=at, waited=at.start), *path]
        last = max(before, key=lambda step: (step.end, step.start, step.urn))
        path.insert(0, Leg(step=at, waited=at.start - last.end))
        at = last


def by_component(path: Iterable[Leg]) -> dict[str, int]:
    """Seconds of the critical path in each component, waiting included, in the path's order."""
    found: dict[str, int] = {}
    for leg in path:
        seconds = leg.waited + leg.step.end - leg.step.start
        found[leg.step.component] = found.get(leg.step.component, 0) + seconds
    return found
