"""What a run of the program knows of its objects of Kubernetes: what is found now, and what was before."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.field_path import Path, parse, spelled
from jarvis.core.identity import Identity, read_identity
from jarvis.core.objects import Mark
from jarvis.drift.ask import Looked, Watch, deployed
from jarvis.drift.lists import Asked, ask, control_plane, paths
from jarvis.drift.owners import Live, Ours, from_text, judge, to_text
from jarvis.drift.seen import bounded, one_line
from jarvis.drift.source import Source

NAME = "Kubernetes"
# Host roles without which the API does not answer.
_NEEDS = frozenset({"etcd", "kube-apiserver"})
Ask = Callable[[Environment, Sequence[Server], Sequence[str]], Coroutine[Any, Any, Asked]]


@dataclass(frozen=True, kw_only=True)
class Former:
    """What the last finished ``up`` left of an object.

    - ``ours``: the fields that were ours when an ``up`` wrote it last; ``None`` where no record tells.
    - ``ignored``: fields that were none of ours.
    - ``count``: which time it was that anything was found of it; 0 for never. ``sentences``, ``take``: what
      was found then, and what was taken from others.
    """

    ours: Ours | None = None
    ignored: tuple[Path, ...] = ()
    count: int = 0
    sentences: tuple[str, ...] = ()
    take: frozenset[Path] = frozenset()

    @property
    def mark(self) -> Mark | None:
        """What the object has of it; ``None`` for nothing."""
        if not self.count:
            return None
        text = f"{self.count}: {'; '.join(self.sentences)}"
        return Mark(text=text, take=to_text(self.take) if self.take else "")


@dataclass(frozen=True)
class ObjectsBefore:
    """What the last finished ``up`` left: ``objects``, those that it declared."""

    objects: Mapping[Identity, Former] = field(default_factory=dict)


def read_objects(record: Mapping[str, Any]) -> ObjectsBefore:
    """What ``to_record`` wrote into ``record``. Numbers of the engine have a fraction."""
    return ObjectsBefore(
        objects={
            read_identity(str(text)): Former(
                ours=Ours(time=str(one["time"]), paths=from_text(one["fields"])) if "fields" in one else None,
                ignored=tuple(parse(each) for each in one.get("ignored", ())),
                count=int(one.get("count", 0)),
                sentences=tuple(map(str, one.get("sentences", ()))),
                take=from_text(one["take"]) if one.get("take") else frozenset(),
            )
            for text, one in record.get("objects", {}).items()
        }
    )


def to_record(objects: Mapping[Identity, Former]) -> dict[str, Any]:
    """What the next run must know of ``objects``, of plain values."""
    return {"objects": {str(name): _values(one) for name, one in sorted(objects.items())}}


def _values(one: Former) -> dict[str, Any]:
    return {
        **({"time": one.ours.time, "fields": to_text(one.ours.paths)} if one.ours else {}),
        **({"ignored": [spelled(each) for each in one.ignored]} if one.ignored else {}),
        **({"count": one.count, "sentences": list(one.sentences)} if one.count else {}),
        **({"take": to_text(one.take)} if one.take else {}),
    }


def found_lines(before: ObjectsBefore, live: Mapping[Identity, Live]) -> dict[str, list[str]]:
    """Sentences by object, of all that the last finished ``up`` declared."""
    return {
        str(one): list(map(one_line, judge(live.get(one), former.ours, former.ignored).sentences))
        for one, former in before.objects.items()
    }


def kubernetes_source(env: Environment, before: ObjectsBefore) -> Source:
    """Kubernetes, for which no program declares anything: what the last finished ``up`` left is compared."""

    async def look() -> Looked:
        servers = control_plane(env, deployed(env))
        # Of an earlier Jarvis no record tells which objects are the stack's.
        if not before.objects or not servers:
            return Looked()
        asked = await ask(env, servers, paths(before.objects))
        if asked.silent:
            return Looked(silent={NAME: asked.why})
        return Looked(found={NAME: found_lines(before, asked.live)})

    return Source(name=NAME, look=look, required=True, needs=_NEEDS)


class Objects:
    """What is known of the objects of ``env`` while the program declares them. It is the ``Watcher`` of
    ``jarvis.core.objects``.

    Args:
        env: the environment, which knows what is deployed.
        watch: the configuration's ``jarvis:observe``.
        before: what the last finished ``up`` left.
        asked_by: how the API is asked, by default ``ask``.
    """

    def __init__(
        self, env: Environment, watch: Watch, before: ObjectsBefore, asked_by: Ask | None = None
    ) -> None:
        self._env, self._watch, self._before = env, watch, before
        self._ask = asked_by or ask
        self._live: Mapping[Identity, Live] | None = None
        self._declared: dict[Identity, Former] = {}
        self._elsewhere: dict[str, list[Path]] = {}
        for one in env.kubernetes.owned_elsewhere:
            self._elsewhere.setdefault(one.object, []).append(one.path)

    @property
    def source(self) -> Source:
        """Kubernetes, whose API answers ``look``."""
        return Source(name=NAME, look=self.look, required=True, needs=_NEEDS)

    async def look(self) -> Looked:
        """Asks the API. It has found nothing yet: which fields are ignored is known with each declaration, so
        ``see`` judges, tells and counts what is found; and the record keeps more of it than sentences."""
        servers = control_plane(self._env, deployed(self._env))
        if not servers:
            return Looked()
        asked = await self._ask(self._env, servers, paths(self._before.objects))
        if asked.silent:
            return Looked(silent={NAME: asked.why})
        self._live = asked.live
        return Looked()

    def elsewhere(self, one: Identity) -> Sequence[Path]:
        """The fields of ``one`` that another manager owns."""
        return self._elsewhere.get(str(one), [])

    def see(self, one: Identity, *, ignored: Sequence[Path], protected: bool) -> Mark | None:
        """What is known of ``one``, which the program declares; what is found now is told as a warning."""
        not_ours = (*ignored, *self.elsewhere(one))
        former = replace(self._before.objects.get(one, Former()), ignored=not_ours)
        self._declared[one] = former
        if self._live is None:
            return former.mark
        live = self._live.get(one)
        self._tell_of_elsewhere(one, live)
        found = judge(live, former.ours, not_ours)
        for sentence in found.sentences:
            pulumi.log.warn(f"{NAME}: {one}: {sentence}")
        if found.deleted and protected:
            pulumi.log.warn(
                f"{one} is protected, and `up` cannot make it anew: restore it, or have Pulumi forget it"
                " (docs/operating.md, Objects of Kubernetes)"
            )
            return former.mark
        if not found.sentences:
            return former.mark
        now = replace(
            former,
            count=former.count + 1,
            sentences=bounded([one_line(each) for each in found.sentences]),
            # What took others' fields once stays declared: its end would be one more change.
            take=found.take or former.take,
        )
        self._declared[one] = now
        mark = now.mark
        assert mark is not None
        return replace(mark, anew=found.deleted)

    def _tell_of_elsewhere(self, one: Identity, live: Live | None) -> None:
        """Warns of a field that is given away to a manager that has not taken it: it is lost with the next
        change."""
        for each in self._env.kubernetes.owned_elsewhere:
            if live is None or each.object != str(one):
                continue
            theirs = [owner for owner in live.owners if owner.manager == each.manager]
            if not any(path[: len(each.path)] == each.path for owner in theirs for path in owner.paths):
                pulumi.log.warn(
                    f"{one}: {each.field}: {each.manager} does not own it, so it gets the API's default with"
                    " the next change of the object; let that manager write it before"
                )

    def check(self) -> None:
        """Raises ``ConfigurationError`` for fields of objects that the program has not declared."""
        names = {str(one) for one in self._declared}
        wrong = [
            f"  kubernetes.owned_elsewhere[{at}]: Jarvis has no {one.object}"
            for at, one in enumerate(self._env.kubernetes.owned_elsewhere)
            if names and one.object not in names
        ]
        if wrong:
            raise ConfigurationError("these fields are of no object of Jarvis':\n" + "\n".join(wrong))

    async def left(self) -> dict[str, Any]:
        """What the next run must know: after an ``up``, with what is ours now, for which the API is asked
        again; in a preview, with what was ours."""
        declared = dict(self._declared)
        if not pulumi.runtime.is_dry_run():
            declared = await self._renewed(declared)
        return to_record(declared)

    async def _renewed(self, declared: Mapping[Identity, Former]) -> dict[Identity, Former]:
        servers = control_plane(self._env, self._env.present)
        if not declared or not servers or self._watch is Watch.FALSE:
            return dict(declared)
        asked = await self._ask(self._env, servers, paths(declared))
        if asked.silent:
            pulumi.log.warn(
                f"{NAME} could not be asked what is Jarvis' in it: {asked.why}. What others remove from what"
                " this run has changed is told from the next `pulumi up` on"
            )
        return {
            one: replace(former, ours=_later(former.ours, asked.live.get(one)))
            for one, former in declared.items()
        }


def _later(before: Ours | None, live: Live | None) -> Ours | None:
    """What is ours after an ``up``. Where that did not write the object, what was ours before: something may
    have been taken from us since, while the API could not be asked."""
    now = live.ours() if live else None
    return now if now and not (before and before.time == now.time) else before
