"""Findings of each role of each server, from one run to the next, as pure functions.

The text of a role's command has the last findings of the role, until there are newer ones: so what was mended
is no second change. The same thing found again gets another number, and so is a change. Other sources than
servers are treated alike: the source's name stands for the server, and a resource stands for the role.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Limits of the sentences of a role, and of the characters of one: the size of a command is limited
# (jarvis.remote.service), and a person stops reading sooner.
_MOST = 40
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The last findings of a role.

    Attributes:
        count: how often anything has been found of the role, this time included.
        sentences: the findings, such as ``kubelet.service: stopped``.
    """

    count: int
    sentences: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The lines in the text of the role's command."""
        return [f"{self.count}: {sentence}" for sentence in self.sentences]


# By server and role.
Findings = Mapping[str, Mapping[str, Sequence[str]]]
Kept = Mapping[str, Mapping[str, Seen]]


def parse(answer: bytes) -> dict[str, list[str]]:
    """Reads the answer of ``observe.sh``.

    Returns:
        Findings by role; an empty list for a role without drift.

    Raises:
        ValueError: the answer is something else.
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
    """``sentence``, which anybody may have written, on one line of limited length."""
    text = " ".join(sentence.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def after(kept: Kept, found: Findings) -> dict[str, dict[str, Seen]]:
    """Merges new findings into what was known.

    Of a server without an answer, everything stays. Of one with an answer, roles that are not there any more
    are forgotten.

    Args:
        kept: what was known before.
        found: the new findings, by server that answered.

    Returns:
        What is known now, by server and role. A server of which nothing is known is left out.
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
    """The first of ``sentences``, and how many more there are where they are too many."""
    if len(sentences) <= _MOST:
        return tuple(sentences)
    return (*sentences[:_MOST], f"and {len(sentences) - _MOST} more")


def read_kept(record: Mapping[str, Any]) -> dict[str, dict[str, Seen]]:
    """Reads what ``to_record`` wrote into ``record``; nothing where an earlier Jarvis wrote it.

    The engine gives numbers a fraction.
    """
    return {
        str(server): {
            str(role): Seen(count=int(one["count"]), sentences=tuple(map(str, one["sentences"])))
            for role, one in roles.items()
        }
        for server, roles in record.get("seen", {}).items()
    }


def to_record(known: Kept) -> dict[str, Any]:
    """The part of the record that tells the next run what is ``known``, as plain values."""
    return {
        "seen": {
            server: {
                role: {"count": seen.count, "sentences": list(seen.sentences)} for role, seen in roles.items()
            }
            for server, roles in known.items()
        }
    }
