"""What was found of each role of each server, from one run to the next, as pure functions.

The text of a role's command has what was last found of it, and keeps that as long as nothing newer is found:
what is mended is not a change again. What is found once more has another number, and is. Of another source
than the servers it is the same, with the source's name for a server, and a resource for a role.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The text of a command has an end (jarvis.remote.service), and a person stops reading sooner.
_MOST = 40
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was found of a role: ``sentences``, such as ``kubelet.service: stopped``. ``count``: which time it
    was that anything was found of it, from 1."""

    count: int
    sentences: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What the text of the role's command has of it."""
        return [f"{self.count}: {sentence}" for sentence in self.sentences]


# By server and role.
Findings = Mapping[str, Mapping[str, Sequence[str]]]
Kept = Mapping[str, Mapping[str, Seen]]


def parse(answer: bytes) -> dict[str, list[str]]:
    """The answer of ``observe.sh``: sentences by role, with an empty list for a role that is as it should be.

    Raises ``ValueError`` for anything else.
    """
    document = json.loads(answer)
    roles = document.get("roles") if isinstance(document, dict) else None
    if not isinstance(roles, dict):
        raise ValueError("no roles")
    found: dict[str, list[str]] = {}
    for role, sentences in roles.items():
        if not (isinstance(sentences, list) and all(isinstance(one, str) for one in sentences)):
            raise ValueError(f"no sentences of {role}")
        found[role] = [one_line(one) for one in sentences]
    return found


def one_line(sentence: str) -> str:
    """``sentence``, which may have been written by anybody, on one line that has an end."""
    text = " ".join(sentence.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def after(kept: Kept, found: Findings) -> dict[str, dict[str, Seen]]:
    """What is known of each role once ``found`` is, where ``kept`` was known before.

    Of a server that was not asked everything stays. Of one that was, a role that is not there any more is
    forgotten.
    """
    known = {server: dict(roles) for server, roles in kept.items()}
    for server, roles in found.items():
        former = kept.get(server, {})
        now = {role: seen for role, seen in former.items() if role in roles}
        for role, sentences in roles.items():
            if sentences:
                count = former[role].count + 1 if role in former else 1
                now[role] = Seen(count=count, sentences=bounded(sentences))
        known[server] = now
    return {server: roles for server, roles in known.items() if roles}


def bounded(sentences: Sequence[str]) -> tuple[str, ...]:
    """``sentences``, and how many more there are where they are too many."""
    if len(sentences) <= _MOST:
        return tuple(sentences)
    return (*sentences[:_MOST], f"and {len(sentences) - _MOST} more")


def read_kept(record: Mapping[str, Any]) -> dict[str, dict[str, Seen]]:
    """What ``to_record`` wrote into ``record``; nothing where an earlier Jarvis wrote it. Numbers of the
    engine have a fraction."""
    return {
        str(server): {
            str(role): Seen(count=int(one["count"]), sentences=tuple(map(str, one["sentences"])))
            for role, one in roles.items()
        }
        for server, roles in record.get("seen", {}).items()
    }


def to_record(known: Kept) -> dict[str, Any]:
    """What the next run must know of what is ``known``, of plain values."""
    return {
        "seen": {
            server: {
                role: {"count": seen.count, "sentences": list(seen.sentences)} for role, seen in roles.items()
            }
            for server, roles in known.items()
        }
    }
