"""Compares OpenStack's objects with those that the environment declares, before anything is changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi

from jarvis.config import ConfigurationError, Environment
from jarvis.config.access import wait_seconds
from jarvis.config.load import PROJECT, field_path
from jarvis.config.openssh import openssh
from jarvis.drift.ask import Looked
from jarvis.drift.keystone import ANSWER_SECONDS, askers, first
from jarvis.drift.registered import Registered
from jarvis.drift.seen import bounded, one_line
from jarvis.drift.source import Source
from jarvis.openstack.declared.catalogue import KINDS, declared, kind_of
from jarvis.openstack.declared.content import Contents
from jarvis.openstack.declared.model import Declaration, Wanted, program_text
from jarvis.openstack.declared.program import UNFINISHED

NAME = "OpenStack"
# Seconds beyond the connection's, for a login and all that is read.
_ALL_SECONDS = 12 * ANSWER_SECONDS
_MISSING = "missing"

Answer = Mapping[str, Any]
Ask = Callable[[Mapping[str, Any]], Coroutine[Any, Any, dict[str, Any] | str]]


@dataclass(frozen=True, kw_only=True)
class Former:
    """An object as the last finished ``up`` left it.

    Attributes:
        wanted: what it was to be.
        sent: how often its content was sent anew.
    """

    wanted: Wanted
    sent: int = 0


def read_declared(record: Mapping[str, Any]) -> dict[str, Former]:
    """Reads what ``to_record`` wrote into ``record``.

    Returns:
        The objects by key; without kinds that only another Jarvis knows.
    """
    found = {}
    for one in record.get("declared", ()):
        if kind_of(str(one["kind"])) is None:
            continue
        wanted = Wanted(
            kind=str(one["kind"]),
            key=str(one["key"]),
            where=_whole(one["where"]),
            fields=_whole(one["fields"]),
            fixed=tuple(map(str, one.get("fixed", ()))),
            sha256=str(one.get("sha256", "")),
            content=_whole(one.get("content", {})),
        )
        found[wanted.key] = Former(wanted=wanted, sent=int(one.get("sent", 0)))
    return found


def _whole(value: Any) -> Any:
    """``value`` with whole numbers, to which the engine gives a fraction."""
    if isinstance(value, Mapping):
        return {str(key): _whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def to_record(objects: Sequence[Former]) -> dict[str, Any]:
    """The part of the record that tells the next run of ``objects``; empty where there are none."""
    if not objects:
        return {}
    return {
        "declared": [
            {
                **one.wanted.told(),
                **({"sha256": one.wanted.sha256} if one.wanted.sha256 else {}),
                **({"sent": one.sent} if one.sent else {}),
            }
            for one in objects
        ]
    }


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What objects are, against what they shall be.

    Attributes:
        found: sentences by object that is known to be Jarvis'; an empty list for one without drift.
        conflicts: sentences by object that is new, and is there already or cannot be made.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    conflicts: dict[str, list[str]] = field(default_factory=dict)


def judge(expected: Sequence[Wanted], new: Sequence[Wanted], said: Answer) -> Judged:
    """Compares objects with what the program says of them.

    Args:
        expected: the objects that the last finished ``up`` left, as it left them.
        new: those that are declared since.
        said: what ``look`` of the program says, by key.

    Raises:
        KeyError: it lacks something.
        TypeError: it has another form.
    """
    keys = {one.key for one in (*expected, *new)}
    judged = Judged()
    for one in expected:
        answer = said[one.key]
        if "is" in answer:
            judged.found[one.key] = list(_differences(one, answer["is"]).values())
        elif "lacks" in answer:
            judged.found[one.key] = [f"{_MISSING}, with {answer['lacks']}"]
        else:
            judged.found[one.key] = [str(answer["refused"])] if "refused" in answer else [_MISSING]
    for one in new:
        answer = said[one.key]
        wrong: list[str] = []
        if "is" in answer:
            told = _differences(one, answer["is"])
            wrong = [text for name, text in told.items() if name != UNFINISHED]
        elif "refused" in answer:
            wrong = [str(answer["refused"])]
        elif "lacks" in answer and answer["lacks"] not in keys:
            # What is declared beside it is made before it.
            wrong = [f"there is no {answer['lacks']}"]
        if wrong:
            judged.conflicts[one.key] = wrong
    return judged


def _differences(wanted: Wanted, live: Mapping[str, Any]) -> dict[str, str]:
    kind = kind_of(wanted.kind)
    assert kind is not None
    return kind.api.differences(wanted.told(), dict(live))


def question(registered: Registered, objects: Sequence[Wanted], seconds: int) -> dict[str, Any]:
    """The question that the program reads.

    Args:
        registered: what is registered in Keystone, and who reads.
        objects: what is asked for.
        seconds: how long a request may take.
    """
    admin = registered.admin
    return {
        "url": registered.url,
        "authority": registered.authority,
        "user": admin.user,
        "password": admin.password,
        "project": admin.project,
        "endpoints": {entry.kind: entry.url for entry in registered.entries},
        "seconds": seconds,
        "wait": 0,
        "objects": [one.told() for one in objects],
    }


async def _checked(contents: Contents, images: Sequence[Declaration]) -> dict[str, dict[str, Any]]:
    """As ``Contents.check``, and says what is fetched: that may take minutes."""
    for url in contents.missing(images):
        pulumi.log.info(f"fetching {url}")
    return await asyncio.to_thread(contents.check, images)


class Objects:
    """The objects that an environment declares: as they were left, as they are, and as they shall be.

    Args:
        env: the environment, which knows what is deployed.
        before: the objects that the last finished ``up`` left, by key.
        registered: what that ``up`` registered in Keystone; ``None`` where no record tells.
        contents: of images; ``None`` where nothing is to be made, and so only drift is looked for.
        folder: what the paths of keys are relative to.
        ask: asks the program; by default through a server.

    Attributes:
        declarations: the objects that are declared.
    """

    def __init__(
        self,
        env: Environment,
        before: Mapping[str, Former],
        registered: Registered | None,
        contents: Contents | None = None,
        *,
        folder: Path = PROJECT,
        ask: Ask | None = None,
    ) -> None:
        self.declarations = declared(env)
        self._env, self._registered, self._contents, self._folder = env, registered, contents, folder
        self._ask = ask or self._through_a_server
        self._before = {one.key: before[one.key] for one in self.declarations if one.key in before}
        self._content = {key: dict(one.wanted.content) for key, one in self._before.items()}
        self._conflicts: dict[str, list[str]] = {}
        self._mistake: ConfigurationError | None = None
        self._sent = {key: one.sent for key, one in self._before.items()}

    @property
    def source(self) -> Source:
        """The objects as a source of findings."""
        return Source(name=NAME, look=self.look)

    def sent(self, key: str) -> int:
        """How often the content of the image ``key`` was to be sent anew, since it was found missing."""
        return self._sent.get(key, 0)

    @property
    def sending(self) -> list[str]:
        """The images whose content this run sends, or sends anew, by key."""
        return [
            one.key
            for one in self.declarations
            if one.wanted.sha256
            and (one.key not in self._before or self.sent(one.key) > self._before[one.key].sent)
        ]

    async def prepare(self) -> None:
        """Has the content of images that are new on this machine.

        Raises:
            ConfigurationError: the content of one differs from what is declared, or cannot be had; or a
                field changed that never does.
        """
        self._check_fixed()
        if self._contents is not None:
            new = [one for one in self.declarations if one.wanted.sha256 and one.key not in self._before]
            self._content |= await _checked(self._contents, new)

    async def look(self) -> Looked:
        """Asks for all objects that are declared.

        Returns:
            The findings by key of those that the last finished ``up`` left, or why they could not be looked
            at. What is new and cannot be made is kept for ``check``.
        """
        expected = [
            replace(one.wanted, content=self._content.get(key, {})) for key, one in self._before.items()
        ]
        new = [
            replace(one.wanted, content=self._content.get(one.key, {}))
            for one in self.declarations
            if one.key not in self._before and self._contents is not None
        ]
        registered = self._registered
        if registered is None:
            return Looked()
        # A service that this very run turns on has none of them.
        there = {entry.name for entry in registered.entries}
        asked = [one for one in (*expected, *new) if self._service(one) in there]
        if not asked:
            return Looked()
        answer = await self._ask(question(registered, asked, ANSWER_SECONDS * self._env.patience))
        if isinstance(answer, str):
            return Looked(silent={NAME: answer})
        keys = {one.key for one in asked}
        try:
            judged = judge(
                [one for one in expected if one.key in keys],
                [one for one in new if one.key in keys],
                answer["found"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            return Looked(silent={NAME: f"an answer without {error}"})
        self._conflicts = judged.conflicts
        await self._send_again(judged.found)
        lines = {key: list(bounded(list(map(one_line, each)))) for key, each in judged.found.items()}
        return Looked(found={NAME: lines})

    def check(self) -> None:
        """Checks that what is new can be made, or is there as it is declared.

        Raises:
            ConfigurationError: it is not. All of them are named, each with what differs.
        """
        if self._mistake is not None:
            raise self._mistake
        places = {one.key: field_path(one.place) for one in self.declarations}
        lines = [
            f"  {places[key]}: {key}: {sentence}"
            for key, sentences in self._conflicts.items()
            for sentence in sentences
        ]
        if lines:
            text = "\n".join(lines)
            raise ConfigurationError(
                "these objects are in OpenStack already and differ, or cannot be made; nothing has been"
                f" changed:\n{text}\n"
                "declare each as it is, and it is Jarvis' from the next `pulumi up` on; or change it there"
                " (docs/operating.md, Objects of OpenStack)"
            )

    def left(self) -> dict[str, Any]:
        """The part of the record that tells the next run of the objects."""
        return to_record(
            [
                Former(
                    wanted=replace(one.wanted, content=self._content.get(one.key, {})),
                    sent=self.sent(one.key),
                )
                for one in self.declarations
            ]
        )

    def _service(self, one: Wanted) -> str:
        kind = kind_of(one.kind)
        return kind.service if kind is not None else ""

    def _check_fixed(self) -> None:
        mistakes = []
        for one in self.declarations:
            former = self._before.get(one.key)
            if former is None:
                continue
            was, now = former.wanted, one.wanted
            changed = [name for name in one.kind.fixed if was.fields.get(name) != now.fields.get(name)]
            changed += ["sha256"] if was.sha256 != now.sha256 else []
            # Of an image without a project, where openstack.keystone.admin_project has changed.
            changed += ["project"] if was.where != now.where else []
            mistakes += [f"  {field_path(one.place)}.{name}: of {one.key}" for name in changed]
        if mistakes:
            text = "\n".join(mistakes)
            raise ConfigurationError(
                f"this cannot change of an object that is there; nothing has been changed:\n{text}\n"
                "give what is new another name, beside what is there"
            )

    async def _send_again(self, found: Mapping[str, Sequence[str]]) -> None:
        """Counts the images that have to be uploaded again, and has their content on this machine."""
        gone = [
            one
            for one in self.declarations
            if one.wanted.sha256
            and any(text.startswith((_MISSING, "content is missing")) for text in found.get(one.key, ()))
        ]
        for one in gone:
            self._sent[one.key] = self.sent(one.key) + 1
        if gone and self._contents is not None:
            try:
                await _checked(self._contents, gone)
            except ConfigurationError as error:
                self._mistake = error

    async def _through_a_server(self, asked: Mapping[str, Any]) -> dict[str, Any] | str:
        env = self._env
        seconds = wait_seconds(env)
        text = f"{json.dumps(asked)}\n{program_text(KINDS)}".encode()
        with openssh(env, seconds, self._folder) as client:
            return await first(client, askers(env), text, seconds + _ALL_SECONDS * env.patience)
