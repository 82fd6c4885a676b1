"""A command on the operator's machine, run for its success or for a result that is not secret."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_command.local import Command, Logging


@dataclass(frozen=True, kw_only=True)
class LocalCheckArgs:
    """A command and its input. It runs again when either changes.

    Attributes:
        command: a command line, run in the project's folder.
        stdin: its standard input.
    """

    command: str
    stdin: pulumi.Input[str] | None = None


class LocalCheck(Command):
    """Runs a command on the operator's machine, and fails the deployment where the command fails.

    Whatever must wait for the check depends on it. ``stdout`` is the command's output.
    """

    def __init__(self, name: str, args: LocalCheckArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            name,
            create=args.command,
            stdin=args.stdin,
            interpreter=["/bin/sh", "-c"],
            logging=Logging.NONE,
            add_previous_output_in_env=False,
            opts=opts,
        )
