"""A large file from the operator's machine to a server."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_command as command

from jarvis.core.component import Component
from jarvis.remote.connection import Target
from jarvis.remote.script import command_options


@dataclass(frozen=True, kw_only=True)
class TransferArgs:
    """``source``: path on the operator's machine. ``path``: absolute path on the server, in a directory
    that exists. The plugin neither renames nor removes: whoever uses the file checks its digest, moves it
    into place and removes it."""

    target: Target
    source: str
    path: str


class Transfer(Component, token="remote:Transfer"):
    """Copies a file to a server when its content changes."""

    path: pulumi.Output[str]

    def __init__(self, name: str, args: TransferArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        copy = command.remote.CopyToRemote(
            name,
            connection=args.target.connection(),
            source=pulumi.FileAsset(args.source),
            remote_path=args.path,
            opts=command_options(self, args.target),
        )
        self.path = copy.remote_path
        self.register_outputs({"path": self.path})
