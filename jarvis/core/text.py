"""Texts that stand in files beside the component that deploys them, and the one way to fill in a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_PLACE = re.compile(r"@([A-Z][A-Z0-9_]*)@")


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read_beside(module: str, name: str) -> str:
    """The text of the file ``name`` in the folder of ``module``, which is a module's ``__file__``.

    Raises:
        FileNotFoundError: there is none.
    """
    return _read(Path(module).resolve().parent / name)


def fill(text: str, what: str, /, lines: Mapping[str, str] | None = None, **words: str) -> str:
    """``text`` with each placeholder ``@KEY@`` replaced by the value of ``key``.

    It is one pass: what looks like a placeholder in a value stays.

    Args:
        text: the template.
        what: its name in errors.
        lines: values that may have several lines, by key.
        words: values of one line, by key. A line break in one would begin a directive of somebody else's.

    Raises:
        ValueError: a placeholder has no value, a value no placeholder, a key is given twice, or one of
            ``words`` has a line break.
    """
    lines = lines or {}
    twice = sorted(lines.keys() & words.keys())
    if twice:
        raise ValueError(f"{what}: given as a word and as lines: {', '.join(twice)}")
    for key, value in words.items():
        if value and value.splitlines() != [value]:
            raise ValueError(f"{what}: the value of {key} is one line: {value!r}")
    values = {key.upper(): value for key, value in {**lines, **words}.items()}
    places = set(_PLACE.findall(text))
    if places - values.keys():
        raise ValueError(f"{what}: no value for {', '.join(sorted(places - values.keys()))}")
    if values.keys() - places:
        raise ValueError(f"{what}: no place for {', '.join(sorted(values.keys() - places))}")
    return _PLACE.sub(lambda found: values[found[1]], text)


def fill_beside(module: str, name: str, /, lines: Mapping[str, str] | None = None, **words: str) -> str:
    """The template ``name`` in the folder of ``module``, filled in; raises as those two do."""
    return fill(read_beside(module, name), name, lines, **words)
