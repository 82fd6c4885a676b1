"""A large file from the operator's machine to a server."""

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
    """``source``: path on the operator's machine. ``sha256``: of that file. ``path``: absolute path on the
    server, in a directory that exists. The plugin neither renames nor removes: whoever uses the file checks
    its digest, moves it into place and removes it."""

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
