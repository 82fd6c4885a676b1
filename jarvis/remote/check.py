"""A command on the operator's machine whose success matters, or whose result is no secret."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_command.local import Command, Logging


@dataclass(frozen=True, kw_only=True)
class LocalCheckArgs:
    """``command``: a command line, run in the project's folder when it or ``stdin`` changes."""

    command: str
    stdin: pulumi.Input[str] | None = None


class LocalCheck(Command):
    """Runs a command on the operator's machine; the deployment ends where it fails.

    What must not happen before it has passed depends on it. ``stdout`` is its output.
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
