"""Command lines, units and configuration objects of Kubernetes' parts, as pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from jarvis.config.types import Option


def flag_text(value: Option) -> str:
    """``value`` in the form of a flag: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def merge_flags(own: Mapping[str, Option], extra: Mapping[str, Option]) -> dict[str, str]:
    """Jarvis' flags with those of the configuration, which win; sorted by name."""
    return {name: flag_text(value) for name, value in sorted({**own, **extra}.items())}


def merge_objects(own: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration object ``own`` with ``extra`` merged into it: objects key by key, the rest whole."""
    merged = dict(own)
    for name, value in extra.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = merge_objects(before, value) if both else value  # type: ignore[arg-type]
    return merged


def command_line(program: str, flags: Mapping[str, str]) -> str:
    """A command line for ExecStart=, with one flag a line, so that a diff shows which one changed.

    Raises:
        ValueError: a flag has several lines, which a unit cannot hold.
    """
    words = [program]
    for name, value in flags.items():
        if "\n" in value:
            raise ValueError(f"flag {name}: a flag is one line: {value!r}")
        # systemd expands % and $ in a command line (systemd.service(5), "Command lines").
        word = f"--{name}={value}".replace("%", "%%").replace("$", "$$")
        words.append(word if shlex.quote(word) == word else '"' + _escape(word) + '"')
    return " \\\n  ".join(words)


def _escape(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')


def to_yaml(document: Mapping[str, Any]) -> str:
    """``document`` as YAML, in the order in which it was written."""
    return yaml.safe_dump(dict(document), sort_keys=False, default_flow_style=False, width=110)
