"""Transfer of large files from the operator's machine to a server."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_command.remote import CopyToRemote

from jarvis.core.component import merged
from jarvis.core.sdk import file_asset
from jarvis.remote.connection import Target
from jarvis.remote.script import command_options


@dataclass(frozen=True, kw_only=True)
class TransferArgs:
    """A file and where it goes.

    The plugin neither renames nor removes files. Whoever uses the file checks its digest, moves it into
    place, and removes it.

    Attributes:
        target: the server.
        source: path on the operator's machine.
        sha256: digest of that file, 64 hexadecimal digits.
        path: absolute path on the server, in a directory that exists.
    """

    target: Target
    source: str
    sha256: str
    path: str


class Transfer(CopyToRemote):
    """Copies a file to a server when its content changes."""

    def __init__(self, name: str, args: TransferArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            name,
            connection=args.target.connection(),
            source=file_asset(args.source, args.sha256),
            remote_path=args.path,
            opts=merged(opts, **command_options(args.target)),
        )
