"""A script of jarvis/files that runs on a server."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command.remote import Command

from jarvis.core.component import Unwrapped
from jarvis.remote.connection import Target

FILES = Path(__file__).resolve().parents[1] / "files"


class FileText(str):
    """The text of a file that servers get, which knows its ``name`` there as long as nobody edits it."""

    name: str

    @property
    def digest(self) -> str:
        """The SHA-256 of what is shipped."""
        return hashlib.sha256(self.encode()).hexdigest()


@cache
def read_file(name: str) -> FileText:
    """The text of ``jarvis/files/<name>``. Raises ``FileNotFoundError`` where there is none."""
    text = FileText((FILES / name).read_text(encoding="utf-8"))
    text.name = name
    return text


def command_options(target: Target, *, secret: bool = False) -> dict[str, Any]:
    """What every remote command has of ``pulumi.ResourceOptions``.

    A replaced command is undone before it is done anew (the plugin would otherwise undo the new one),
    and is forgotten rather than undone where its server is gone.
    """
    return {
        "ignore_changes": target.kept,
        "delete_before_replace": True,
        "deleted_with": target.gone_with,
        "additional_secret_outputs": ["stdout", "stderr"] if secret else None,
    }


@dataclass(frozen=True, kw_only=True)
class RemoteScriptArgs:
    """A script and what it is told.

    - ``target``: the server.
    - ``script``: its text, which travels by stdin and runs under ``bash -s``.
    - ``library``: a text with functions that it uses, which goes before.
    - ``arguments``: words given to it; each is quoted. Never a secret: they are seen in argv.
    - ``undo``: a command line run when the resource is deleted, or ``None``.
    - ``again``: words added where the state has this resource already: what tells a stack's own server from
      one that a fresh state meets.
    """

    target: Target
    script: str
    library: str = ""
    arguments: Sequence[pulumi.Input[str]] = ()
    undo: str | None = None
    again: Sequence[str] = ()


class RemoteScript(Unwrapped, Command, once_in="remote:Script"):
    """Runs a script on a server at creation and whenever the script or its arguments change."""

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
            opts=self.own_options(name, opts, **command_options(args.target)),
        )


def quote(word: str) -> str:
    """``word`` as one word of a POSIX shell."""
    return (
        word
        if word and all(c.isalnum() or c in "-_./:=,@+" for c in word)
        else "'" + word.replace("'", "'\\''") + "'"
    )
