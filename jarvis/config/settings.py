"""Flags and fields of the programs on servers, checked against what the programs take.

The list is made from the programs of the host release when it is built (``toolchain/settings.py``). What
Jarvis sets itself (``jarvis.config.owned``) is refused whatever the list says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from jarvis.config.errors import ConfigurationError
from jarvis.config.types import Option, named

if TYPE_CHECKING:
    from jarvis.config.artifacts import Release
    from jarvis.config.environment import Environment

# Fields of the configuration with flags of each program, and with the fields of each configuration object.
FLAGS = {
    "etcd": ("etcd", "flags"),
    "kube-apiserver": ("kubernetes", "apiserver_flags"),
    "kube-controller-manager": ("kubernetes", "controller_manager_flags"),
    "kube-scheduler": ("kubernetes", "scheduler_flags"),
}
FIELDS = {
    "KubeletConfiguration": ("kubelet", "kubelet"),
    "KubeProxyConfiguration": ("kube-proxy", "kube_proxy"),
}
# https://pkg.go.dev/strconv#ParseBool
_BOOLEANS = ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False")
# https://pkg.go.dev/time#ParseDuration
_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+)")
_SIZE = re.compile(r"(\d+) ?([KMGT])i?B?", re.I)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, kw_only=True)
class SettingsList:
    """The flags and fields that the programs of one host release take.

    Attributes:
        flags: type of each flag, by program.
        gates: names of feature gates, by program.
        fields: type of each field, by configuration object. A map of fields is an object, and a list has the
            type of its items.
    """

    flags: Mapping[str, Mapping[str, str]]
    gates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def mistakes(self, env: Environment) -> Iterator[str]:
        """Flags and fields of ``env`` that the release does not know, or that have a value of another type.

        Each is a sentence that begins with the field.
        """
        for program, (section, name) in FLAGS.items():
            given: Mapping[str, Option] = getattr(getattr(env, section), name)
            for flag, value in given.items():
                for why in self._flag(program, flag, value):
                    yield f"{section}.{name}.{flag}: {why}"
        for kind, (program, name) in FIELDS.items():
            for place, why in self._fields(program, getattr(env.kubernetes, name), self.fields[kind]):
                yield f"kubernetes.{name}{place}: {why}"

    def _flag(self, program: str, flag: str, value: Option) -> Iterator[str]:
        known = self.flags[program]
        if flag not in known:
            yield f"{program} has no such flag{_near(flag, known)}"
            return
        text = str(value).lower() if isinstance(value, bool) else str(value)
        why = _value_mistake(known[flag], text)
        if why:
            yield why
        elif flag == "feature-gates":
            yield from self._gates(program, text)

    def _gates(self, program: str, text: str) -> Iterator[str]:
        known = self.gates.get(program, ())
        for part in filter(None, text.split(",")):
            name, _, value = part.strip().partition("=")
            name = name.removeprefix("kube:")
            if known and ":" not in name and name not in known:
                yield f"{program} has no feature {name}{_near(name, known)}"
            elif value not in _BOOLEANS:
                yield f"{part.strip()!r} is not a feature with =true or =false after it"

    def _fields(
        self, program: str, given: Mapping[str, Any], known: Mapping[str, Any], place: str = ""
    ) -> Iterator[tuple[str, str]]:
        for name, value in given.items():
            here = f"{place}.{name}"
            if name not in known:
                yield here, f"{program} has no such field{_near(name, known)}"
            elif value is not None:
                yield from self._field(program, value, known[name], here)
            if name == "featureGates" and isinstance(value, dict):
                for gate in value:
                    features = self.gates.get(program, ())
                    if features and gate not in features:
                        yield f"{here}.{gate}", f"{program} has no such feature{_near(gate, features)}"

    def _field(self, program: str, value: Any, kind: Any, here: str) -> Iterator[tuple[str, str]]:
        if isinstance(kind, str) and kind.startswith("[]"):
            kind = [kind[2:]]
        if isinstance(kind, Mapping):
            if isinstance(value, dict):
                yield from self._fields(program, value, kind, here)
            else:
                yield here, f"{named(value)} is not a map of fields: there are {', '.join(sorted(kind))}"
        elif isinstance(kind, list):
            if isinstance(value, list):
                for at, each in enumerate(value):
                    yield from self._field(program, each, kind[0], f"{here}[{at}]")
            else:
                yield here, f"{named(value)} is not a list"
        elif kind.startswith("map["):
            if isinstance(value, dict):
                for name, each in value.items():
                    yield from self._field(program, each, kind.partition("]")[2], f"{here}.{name}")
            else:
                yield here, f"{named(value)} is not a map of names and values"
        else:
            why = _field_mistake(kind, value)
            if why:
                yield here, why


def _field_mistake(kind: str, value: Any) -> str:
    """What is wrong with ``value`` in a YAML field of Go's type ``kind``; empty where nothing is known."""
    if kind == "unknown" or "." in kind:
        return ""
    if kind == "bool":
        return "" if isinstance(value, bool) else f"{named(value)} is not true or false"
    if kind in ("string", "duration"):
        if not isinstance(value, str):
            hint = "such as 30s" if kind == "duration" else "which is written in quotes"
            return f"{named(value)} is not a text, {hint}"
        return _value_mistake(kind, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{named(value)} is not a number"
    return _value_mistake(kind, str(value))


def _value_mistake(kind: str, text: str) -> str:
    """What is wrong with ``text`` as a value of Go's type ``kind``; empty where nothing is known."""
    if re.fullmatch(r"u?int(8|16|32|64)?", kind):
        size = _SIZE.fullmatch(text)
        if size:
            count = int(size[1]) * 1024 ** _POWERS[size[2].lower()]
            return f"{text!r} is not a whole number; {size[1]} {size[2].upper()}iB are {count} bytes"
        if not re.fullmatch(r"[+-]?\d+", text):
            return f"{text!r} is not a whole number"
        bits = int(re.sub(r"\D", "", kind) or 64)
        low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return "" if low <= int(text) <= high else f"{text} is not between {low} and {high}"
    if kind.startswith("float"):
        return (
            ""
            if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.I)
            else f"{text!r} is not a number"
        )
    if kind == "bool":
        return "" if text in _BOOLEANS else f"{text!r} is not true or false"
    if kind == "duration":
        return (
            "" if _DURATION.fullmatch(text) else f"{text!r} is not a time with its unit, such as 30s or 1h30m"
        )
    if kind == "ip":
        try:
            ip_address(text)
        except ValueError:
            return f"{text!r} is not an IP address"
    return ""


def _near(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the closest is {close[0]}" if close else ""


def read_settings(release: Release) -> SettingsList | None:
    """The list of ``release``; ``None`` for a release that was built before there were lists.

    Raises:
        ConfigurationError: the list is missing or has another form.
    """
    if release.settings is None:
        return None
    file = Path(release.settings)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        found = SettingsList(flags=document["flags"], gates=document["gates"], fields=document["fields"])
        if not (FLAGS.keys() <= found.flags.keys() and FIELDS.keys() <= found.fields.keys()):
            raise KeyError(str(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(
            f"the host release has no list of flags and fields: {file}; build it again with: make artifacts"
        ) from None
    return found


def check_settings(env: Environment, release: Release) -> None:
    """Checks flags and fields of ``env`` against what the programs of ``release`` take.

    Warns where ``env`` has flags or fields and the release has no list.

    Raises:
        ConfigurationError: a program would refuse or ignore some. It lists all of them.
    """
    known = read_settings(release)
    if known is None:
        given = [getattr(getattr(env, section), name) for section, name in FLAGS.values()]
        if any(given) or any(getattr(env.kubernetes, name) for _, name in FIELDS.values()):
            pulumi.log.warn(
                "flags and fields of etcd and kubernetes are not checked: the host release was built before"
                " there was a list of them; build it again with: make artifacts"
            )
        return
    found = list(known.mistakes(env))
    if found:
        lines = "\n".join(f"  {mistake}" for mistake in found)
        raise ConfigurationError(
            f"programs of the host release do not take these; nothing has been changed:\n{lines}"
        )
