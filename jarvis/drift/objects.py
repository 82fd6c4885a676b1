"""The drift of objects of Kubernetes that a run of the program knows: found now, and found before."""

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
    """What the last finished ``up`` recorded of an object.

    Attributes:
        ours: the fields that were ours when an ``up`` last wrote the object; ``None`` where no record tells.
        ignored: fields that were not ours.
        count: how often anything has been found of the object; 0 for never.
        sentences: what was found the last time.
        take: the fields that were taken from other managers then.
    """

    ours: Ours | None = None
    ignored: tuple[Path, ...] = ()
    count: int = 0
    sentences: tuple[str, ...] = ()
    take: frozenset[Path] = frozenset()

    @property
    def mark(self) -> Mark | None:
        """The mark that the object bears; ``None`` where nothing was ever found of it."""
        if not self.count:
            return None
        text = f"{self.count}: {'; '.join(self.sentences)}"
        return Mark(text=text, take=to_text(self.take) if self.take else "")


@dataclass(frozen=True)
class ObjectsBefore:
    """What the last finished ``up`` recorded of all objects.

    Attributes:
        objects: by identity, those that it declared.
    """

    objects: Mapping[Identity, Former] = field(default_factory=dict)


def read_objects(record: Mapping[str, Any]) -> ObjectsBefore:
    """Reads what ``to_record`` wrote into ``record``. The engine gives numbers a fraction."""
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
    """The part of the record that tells the next run of ``objects``, as plain values."""
    return {"objects": {str(name): _values(one) for name, one in sorted(objects.items())}}


def _values(one: Former) -> dict[str, Any]:
    return {
        **({"time": one.ours.time, "fields": to_text(one.ours.paths)} if one.ours else {}),
        **({"ignored": [spelled(each) for each in one.ignored]} if one.ignored else {}),
        **({"count": one.count, "sentences": list(one.sentences)} if one.count else {}),
        **({"take": to_text(one.take)} if one.take else {}),
    }


def found_lines(before: ObjectsBefore, live: Mapping[Identity, Live]) -> dict[str, list[str]]:
    """The findings of each object that the last finished ``up`` declared.

    Args:
        before: what that ``up`` recorded.
        live: the objects as they are now.

    Returns:
        Sentences by object; an empty list for one without drift.
    """
    return {
        str(one): list(map(one_line, judge(live.get(one), former.ours, former.ignored).sentences))
        for one, former in before.objects.items()
    }


def kubernetes_source(env: Environment, before: ObjectsBefore) -> Source:
    """Kubernetes as a source of findings, for a look without a program that declares objects.

    Args:
        env: the environment, which knows what is deployed.
        before: what the last finished ``up`` recorded, which objects are compared with.
    """

    async def look() -> Looked:
        servers = control_plane(env, deployed(env))
        # The record of an earlier Jarvis does not tell which objects are the stack's.
        if not before.objects or not servers:
            return Looked()
        asked = await ask(env, servers, paths(before.objects))
        if asked.silent:
            return Looked(silent={NAME: asked.why})
        return Looked(found={NAME: found_lines(before, asked.live)})

    return Source(name=NAME, look=look, required=True, needs=_NEEDS)


class Objects:
    """Compares objects of Kubernetes with what was deployed, while the program declares them.

    It is the ``Watcher`` of ``jarvis.core.objects``.

    Args:
        env: the environment, which knows what is deployed.
        watch: the value of ``jarvis:observe``.
        before: what the last finished ``up`` recorded.
        asked_by: asks the API; by default ``ask``.
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
        """Kubernetes as a source, asked by ``look``."""
        return Source(name=NAME, look=self.look, required=True, needs=_NEEDS)

    async def look(self) -> Looked:
        """Asks the API, and keeps what it answers for ``see``.

        Which fields are ignored is known only once an object is declared. So ``see`` judges, warns of and
        counts findings, and the record keeps more of them than sentences.

        Returns:
            No finding; or why the API could not be asked.
        """
        servers = control_plane(self._env, deployed(self._env))
        if not servers:
            return Looked()
        asked = await self._ask(self._env, servers, paths(self._before.objects))
        if asked.silent:
            return Looked(silent={NAME: asked.why})
        self._live = asked.live
        return Looked()

    def elsewhere(self, one: Identity) -> Sequence[Path]:
        """The fields of the object ``one`` that another manager owns by the configuration."""
        return self._elsewhere.get(str(one), [])

    def see(self, one: Identity, *, ignored: Sequence[Path], protected: bool) -> Mark | None:
        """Judges an object that the program declares, and warns of each finding.

        Args:
            one: the object.
            ignored: the fields that the program ignores.
            protected: the engine refuses to delete the object, and so to replace it. Its deletion is told by
                warnings alone.

        Returns:
            The mark that the object bears: of what is found now, or else of what was found last; ``None``
            where nothing ever was.
        """
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
            # The command that took fields from others stays declared: its end would be one more change.
            take=found.take or former.take,
        )
        self._declared[one] = now
        mark = now.mark
        assert mark is not None
        return replace(mark, anew=found.deleted)

    def _tell_of_elsewhere(self, one: Identity, live: Live | None) -> None:
        """Warns of each field that is owned elsewhere by the configuration, but not by that manager yet.

        Such a field is lost with the next change of the object.
        """
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
        """Checks ``kubernetes.owned_elsewhere`` against the objects that the program has declared.

        Raises:
            ConfigurationError: a field is of an object that was not declared.
        """
        names = {str(one) for one in self._declared}
        wrong = [
            f"  kubernetes.owned_elsewhere[{at}]: Jarvis has no {one.object}"
            for at, one in enumerate(self._env.kubernetes.owned_elsewhere)
            if names and one.object not in names
        ]
        if wrong:
            raise ConfigurationError("these fields are of no object of Jarvis':\n" + "\n".join(wrong))

    async def left(self) -> dict[str, Any]:
        """The part of the record that tells the next run of the objects.

        In an ``up`` it has the fields that are ours now, for which the API is asked again. In a preview it
        has those that were ours.
        """
        declared = dict(self._declared)
        if not pulumi.runtime.is_dry_run():
            declared = await self._renewed(declared)
        return to_record(declared)

    async def _renewed(self, declared: Mapping[Identity, Former]) -> dict[Identity, Former]:
        """``declared`` with the fields that are ours now, as far as the API tells."""
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
    """The fields that are ours after an ``up``.

    Where that ``up`` did not write the object, they are those that were ours ``before``: another manager may
    have taken some since, while the API could not be asked.
    """
    now = live.ours() if live else None
    return now if now and not (before and before.time == now.time) else before
