"""What a tool found, and what of it is explained."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXPLAINED = Path(__file__).with_name("explained.toml")


@dataclass(frozen=True, order=True)
class Finding:
    """``tool``, ``subject``: what it looked at, ``text``: what it said, in one line."""

    tool: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.tool}: {self.subject}: {self.text}"


@dataclass(frozen=True)
class Explanation:
    """Why findings of ``tool`` stay whose subject and text look like ``finding``, a pattern of fnmatch."""

    tool: str
    finding: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        return finding.tool == self.tool and fnmatch.fnmatchcase(
            f"{finding.subject}: {finding.text}", self.finding
        )


def explanations(file: Path = EXPLAINED) -> list[Explanation]:
    """Those written down. Raises ``KeyError`` and ``TypeError`` for an entry of another form."""
    entries = tomllib.loads(file.read_text(encoding="utf-8"))["explained"]
    return [Explanation(**entry) for entry in entries]


def unexplained(findings: Iterable[Finding], known: Iterable[Explanation]) -> list[Finding]:
    """The ``findings`` that nothing of ``known`` covers, in order."""
    known = list(known)
    return sorted({one for one in findings if not any(each.covers(one) for each in known)})


def markdown(known: Iterable[Explanation]) -> str:
    """The table of docs/audits.md."""
    lines = ["| tool | finding | why it stays |", "|---|---|---|"]
    lines += [
        f"| {one.tool} | `{one.finding.replace('|', chr(92) + '|')}` | {one.reason} |"
        for one in sorted(known, key=lambda one: (one.tool, one.finding))
    ]
    return "\n".join(lines) + "\n"
