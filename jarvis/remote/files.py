"""Files for servers, rendered as a bundle: plain text that a person can read in a diff."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from jarvis.remote.program import Program
from jarvis.remote.script import FileText

_MODE = re.compile(r"0[0-7]{3}")
_OWNER = re.compile(r"[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*")
_PATH = re.compile(r"/[A-Za-z0-9@._/+:-]+")


@dataclass(frozen=True, kw_only=True)
class File:
    """A text file on a server.

    An executable whose content is a script of ``jarvis/files`` or a program of ``jarvis/host`` travels with
    the server's scripts (``jarvis.remote.ServerTools``): the bundle has its name and digest only, and the
    digests of a program's modules. All other content travels in the bundle.

    Attributes:
        path: absolute path of letters, digits and ``@._/+:-``.
        content: the whole text; a missing last newline is added.
        mode: four octal digits.
        owner: ``user:group``, both of which exist on the server.

    Raises:
        ValueError: path, mode or owner has another form.
    """

    path: str
    content: pulumi.Input[str]
    mode: str = "0644"
    owner: str = "root:root"

    def __post_init__(self) -> None:
        _check(self.path, self.mode, self.owner)


@dataclass(frozen=True, kw_only=True)
class Directory:
    """A directory on a server, created where it is missing. Fields and errors are those of ``File``."""

    path: str
    mode: str = "0755"
    owner: str = "root:root"

    def __post_init__(self) -> None:
        _check(self.path, self.mode, self.owner)


def _check(path: str, mode: str, owner: str) -> None:
    if not _PATH.fullmatch(path) or "/../" in path or path.endswith("/"):
        raise ValueError(
            f"{path!r} is not a path that Jarvis writes (absolute, of letters, digits and @._/+:-)"
        )
    if not _MODE.fullmatch(mode):
        raise ValueError(f"{path}: mode {mode!r} is not four octal digits, such as 0644")
    if not _OWNER.fullmatch(owner):
        raise ValueError(f"{path}: owner {owner!r} is not user:group")


def render(entries: Sequence[File | Directory]) -> pulumi.Output[str]:
    """The bundle of ``entries``: a head line for each, and each line of content behind a ``|``.

    The bundle is secret when any content is. ``jarvis/files/apply.sh`` reads it.
    """
    contents = [
        entry.content if isinstance(entry, File) and script_of(entry) is None else "" for entry in entries
    ]
    return pulumi.Output.all(*contents).apply(
        lambda texts: "".join(render_entry(e, t) for e, t in zip(entries, texts, strict=True))
    )


def script_of(entry: File) -> FileText | None:
    """The script that ``entry`` is; ``None`` for a file whose content travels in the bundle."""
    runs = int(entry.mode, 8) & 0o100
    return entry.content if runs and isinstance(entry.content, FileText) else None


def render_entry(entry: File | Directory, content: str) -> str:
    """One entry of a bundle, as a pure function of its known ``content``.

    Raises:
        ValueError: the content has a NUL byte, which no text file has.
    """
    if isinstance(entry, Directory):
        return f"dir {entry.mode} {entry.owner} {entry.path}\n"
    script = script_of(entry)
    if script is not None:
        modules = script if isinstance(script, Program) else ""
        return f"{modules}script {entry.mode} {entry.owner} {script.digest} {script.name} {entry.path}\n"
    if "\0" in content:
        raise ValueError(f"{entry.path}: the content has a NUL byte; only text travels in a bundle")
    lines = content.removesuffix("\n").split("\n")
    return f"file {entry.mode} {entry.owner} {entry.path}\n" + "".join(f"|{line}\n" for line in lines)
