"""Scripts of ``jarvis/files`` that run on a server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command.remote import Command

from jarvis.core.component import merged
from jarvis.remote.connection import Target

FILES = Path(__file__).resolve().parents[1] / "files"


class FileText(str):
    """The text of a file that servers get, which remembers that file's name.

    A derived string (``.replace()``, ``+``) is a plain ``str`` and does not.

    Attributes:
        name: path of the file below the folder of what is shipped, as below ``jarvis/files``.
    """

    name: str

    @property
    def digest(self) -> str:
        """The SHA-256 of what is shipped."""
        return hashlib.sha256(self.encode()).hexdigest()


@cache
def read_file(name: str) -> FileText:
    """The text of ``jarvis/files/<name>``.

    Raises:
        FileNotFoundError: there is no such file.
    """
    text = FileText((FILES / name).read_text(encoding="utf-8"))
    text.name = name
    return text


def command_options(target: Target, *, secret: bool = False) -> dict[str, Any]:
    """Options of Pulumi that every remote command has.

    A replaced command is undone before the new one runs: in the other order the plugin would undo the new
    one. A command whose server is gone is forgotten, not undone.

    Args:
        target: the server.
        secret: stdout and stderr are secret.

    Returns:
        Keywords of ``pulumi.ResourceOptions``.
    """
    return {
        "ignore_changes": target.kept,
        "delete_before_replace": True,
        "deleted_with": target.gone_with,
        "additional_secret_outputs": ["stdout", "stderr"] if secret else None,
    }


@dataclass(frozen=True, kw_only=True)
class RemoteScriptArgs:
    """A script and its arguments.

    Attributes:
        target: the server.
        script: its text, which travels by stdin and runs under ``bash -s``.
        library: text with functions that the script calls; it goes first.
        arguments: words for the script, each of which is quoted. Never a secret: argv is visible.
        undo: command line to run when the resource is deleted, or ``None``.
        again: words added to every run but the first, when the state has this resource already. They tell a
            server of this stack from one that a new state meets.
    """

    target: Target
    script: str
    library: str = ""
    arguments: Sequence[pulumi.Input[str]] = ()
    undo: str | None = None
    again: Sequence[str] = ()


class RemoteScript(Command):
    """Runs a script on a server once, and again whenever script or arguments change."""

    def __init__(self, name: str, args: RemoteScriptArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        words = pulumi.Output.all(*args.arguments).apply(lambda values: " ".join(map(quote, values)))
        run = args.target.as_root
        super().__init__(
            name,
            connection=args.target.connection(),
            create=words.apply(lambda text: run(f"bash -s -- {text}".rstrip())),
            update=words.apply(
                lambda text: run(" ".join(["bash -s --", *filter(None, [text]), *map(quote, args.again)]))
            )
            if args.again
            else None,
            delete=None if args.undo is None else run(args.undo),
            stdin=args.library + args.script,
            add_previous_output_in_env=False,
            opts=merged(opts, **command_options(args.target)),
        )


def quote(word: str) -> str:
    """``word`` quoted as one word for a POSIX shell."""
    return (
        word
        if word and all(c.isalnum() or c in "-_./:=,@+" for c in word)
        else "'" + word.replace("'", "'\\''") + "'"
    )
