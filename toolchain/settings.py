"""What the programs of the host release can be told: flags and fields of configuration objects, listed by the
very programs when the release is built.

Flags come from each program's own help. Fields come from its own strict decoding: it says which fields of a
file it does not know, of what type the others are, and ends, since every file asked about has one more value
that its validation refuses (``GUARD``). Nothing is started.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolchain.errors import ToolchainError
from toolchain.store import locked

# Changed when the form of the list, or the way of asking, changes.
FORMAT = 1
# Seconds for one question, which is answered in less than 0.1.
_TIMEOUT = 60
# The strict decoder tells the first hundred unknown fields only: sigs.k8s.io/json, saveStrictError.
_AT_ONCE = 90
# No program has it. Whatever a value of another flag is, this one ends the program.
_NO_FLAG = "--jarvis-asks"
_NO_FIELD = "jarvisAsks"

FLAGS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A configuration object: the ``program`` that reads it, what it is called, and ``guard``: a value that
    decodes and that the program's validation refuses."""

    program: str
    kind: str
    version: str
    guard: Mapping[str, Any] = field(default_factory=dict)


KINDS = (
    Kind(
        program="kubelet",
        kind="KubeletConfiguration",
        version="kubelet.config.k8s.io/v1beta1",
        guard={"nodeLeaseDurationSeconds": -1},
    ),
    Kind(
        program="kube-proxy",
        kind="KubeProxyConfiguration",
        version="kubeproxy.config.k8s.io/v1alpha1",
        guard={"mode": "none-that-there-is"},
    ),
)


def settings_list(folder: Path, release: str, files: Mapping[str, Path]) -> Path:
    """The file in ``folder`` that lists what the programs of the ``release`` (its digest) can be told; made
    unless it is there. ``files``: each program by name.

    Raises ``ToolchainError`` naming the program that does not tell.
    """
    target = folder / f"{release[:16]}-{FORMAT}.settings.json"
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            part = target.with_suffix(f".{os.getpid()}")
            part.write_text(
                json.dumps(list_settings(files), indent=1, sort_keys=True) + "\n", encoding="utf-8"
            )
            part.replace(target)
    return target


def list_settings(files: Mapping[str, Path]) -> dict[str, Any]:
    """What ``jarvis.config.settings`` reads::

        {"flags": {PROGRAM: {FLAG: TYPE}}, "gates": {PROGRAM: [FEATURE]}, "fields": {KIND: {FIELD: TYPE}}}

    The type of a flag is Go's (``int32``, ``bool``, ``duration``, ``string``), or that of pflag. That of a
    field is the same, or a map of fields, or a list with the type of what is in it.
    """
    flags: dict[str, dict[str, str]] = {}
    gates: dict[str, list[str]] = {}
    for program in FLAGS:
        text = _said([files[program], "--help"])
        flags[program] = etcd_flags(text, files[program]) if program == "etcd" else help_flags(text)
        gates[program] = feature_gates(text)
        if not flags[program]:
            raise ToolchainError(f"the help of {program} names no flag that could be listed")
    fields = {}
    for kind in KINDS:
        gates[kind.program] = feature_gates(_said([files[kind.program], "--help"]))
        fields[kind.kind] = Asker(files[kind.program], kind).fields()
    return {"flags": flags, "gates": gates, "fields": fields}


# --- flags ------------------------------------------------------------------------------------------------

_PFLAG = re.compile(
    r"^ +(?:-\w, )?--([A-Za-z0-9][A-Za-z0-9._-]*)(?: ([^\s\[]+))?(?:\[=\S*\])?(?: {2,}.*)?$", re.M
)
_GATE = re.compile(r"^\s+(?:kube:)?([A-Za-z0-9]+)=true\|false\b", re.M)
_ETCD = re.compile(r"^  --([a-z][a-z0-9-]*)(?: .*)?$", re.M)


def help_flags(text: str) -> dict[str, str]:
    """The flags in the help ``text`` of a program of Kubernetes, each with its type. A flag without one is
    true or false (github.com/spf13/pflag, FlagUsagesWrapped)."""
    return {name: kind or "bool" for name, kind in _PFLAG.findall(text)}


def feature_gates(text: str) -> list[str]:
    """The features that a help ``text`` says can be true or false."""
    return sorted(set(_GATE.findall(text)))


def etcd_flags(text: str, program: Path) -> dict[str, str]:
    """The flags in etcd's help ``text``, which is written by hand: of what type each is ``program`` tells."""
    names = sorted(set(_ETCD.findall(text)) - {"version", "help"})
    with ThreadPoolExecutor(_workers()) as pool:
        return dict(zip(names, pool.map(lambda name: _etcd_type(program, name), names), strict=True))


def _etcd_type(program: Path, name: str) -> str:
    def takes(value: str) -> bool:
        return "invalid " not in _said([program, f"--{name}={value}", _NO_FLAG]).partition("\n")[0]

    if takes("x"):
        return "string"
    for value, kind in (("1.5", "float"), ("1s", "duration"), ("2", "int"), ("true", "bool")):
        if takes(value):
            return kind
    return "unknown"


def _said(words: Sequence[str | Path]) -> str:
    """All that a program prints; it ends by itself. It gets nothing of this machine's environment."""
    try:
        done = subprocess.run(
            [str(word) for word in words],
            env={"PATH": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{Path(words[0]).name} does not say what it can be told: {error}") from None
    return done.stdout.decode(errors="replace")


def _workers() -> int:
    return os.cpu_count() or 1


# --- fields -----------------------------------------------------------------------------------------------

Path_ = tuple[str | int, ...]
_TAG = re.compile(rb'json:"([A-Za-z][A-Za-z0-9]*)[",]')
_UNKNOWN = re.compile(r'unknown field \\*"([^"\\]+)\\*"')
_TYPE = re.compile(r"cannot unmarshal \w+ into Go (?:struct field \S+|value) of type ([^\s\"\\]+)")
_SCALAR = re.compile(r"u?int(8|16|32|64)?|float(32|64)|bool|string")
_REFUSED = re.compile(r"failed to (decode|load)|cannot unmarshal|invalid duration|quantities must match")


class Asker:
    """Asks ``program`` about the fields of its configuration object ``kind``."""

    def __init__(self, program: Path, kind: Kind) -> None:
        self._program = program
        self._kind = kind
        # Every name of a field of any type that the program has.
        self._names = sorted({name.decode() for name in _TAG.findall(program.read_bytes())})

    def fields(self) -> dict[str, Any]:
        """The fields of the object by name. Raises ``ToolchainError`` where the program does not tell."""
        found = self._fields(())
        known = {"apiVersion", "kind", *self._kind.guard}
        if not known <= found.keys() or len(found) == len(self._names):
            raise ToolchainError(f"{self._program.name} does not say which fields {self._kind.kind} has")
        return found

    def _fields(self, at: Path_) -> dict[str, Any]:
        chunks = [self._names[start : start + _AT_ONCE] for start in range(0, len(self._names), _AT_ONCE)]
        with ThreadPoolExecutor(_workers()) as pool:
            unknown = set().union(*pool.map(lambda names: self._unknown(at, names), chunks))
            names = [name for name in self._names if name not in unknown]
            types = list(pool.map(lambda name: self._type((*at, name)), names))
        found: dict[str, Any] = {}
        for name, kind in zip(names, types, strict=True):
            place = (*at, name)
            if kind == "object":
                found[name] = self._fields(place)
            elif kind == "list of objects":
                found[name] = [self._fields((*place, 0))]
            else:
                found[name] = [kind[2:]] if kind.startswith("[]") else kind
        return found

    def _unknown(self, at: Path_, names: Sequence[str]) -> set[str]:
        """Which of ``names`` the object ``at`` does not have.

        No value is a value to all but types with a decoding of their own, such as durations: one of them
        among the names hides what is said of the others, so each half is asked about.
        """
        answer = self._ask(at, dict.fromkeys(names))
        if _REFUSED.search(answer):
            if len(names) == 1:
                return set()
            half = len(names) // 2
            return self._unknown(at, names[:half]) | self._unknown(at, names[half:])
        return {name.rpartition(".")[2] for name in _UNKNOWN.findall(answer)}

    def _type(self, at: Path_) -> str:
        """The type of the field ``at``, by what the program says of a value of another one."""
        answer = self._ask(at, True)
        told = _TYPE.search(answer)
        kind = told[1].lstrip("*") if told else "unknown"
        if not told and not _REFUSED.search(answer):
            return "unknown" if self._takes(at, "x") else "bool"
        if kind == "string" and not self._takes(at, "x"):
            return "duration" if "invalid duration" in self._ask(at, "x") else "unknown"
        if kind.startswith("map[") or _SCALAR.fullmatch(kind.removeprefix("[]")):
            return kind
        if kind.startswith("[]"):
            if self._takes(at, ["x"]):
                return "[]string"
            return "list of objects" if self._object((*at, 0)) else "unknown"
        if self._takes(at, "x"):
            return "string"
        return "object" if self._object(at) else "unknown"

    def _object(self, at: Path_) -> bool:
        """Whether there is an object at ``at``: a map with a type of its own knows every name."""
        return _NO_FIELD in self._unknown(at, [_NO_FIELD])

    def _takes(self, at: Path_, value: object) -> bool:
        return not _REFUSED.search(self._ask(at, value))

    def _ask(self, at: Path_, value: object) -> str:
        document: dict[str, Any] = {"apiVersion": self._kind.version, "kind": self._kind.kind}
        document |= {name: v for name, v in self._kind.guard.items() if (name,) != at}
        for part in reversed(at):
            value = [value] if isinstance(part, int) else {part: value}
        assert isinstance(value, dict)
        # Of what the guard, kind and version are themselves, only the decoding is asked.
        document = {**value, **document}
        with tempfile.TemporaryDirectory(prefix="jarvis-settings-") as folder:
            file = Path(folder) / "config.json"
            file.write_text(json.dumps(document), encoding="utf-8")
            return _said([self._program, "--config", file])
