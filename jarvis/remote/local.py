"""A secret made on the operator's machine once, and kept in the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command.local import Command, Logging

from jarvis.core.component import merged

# How every secret is made. The engine runs a command anew when its text changes, and would so make every
# authority and password of a cloud anew: this text is a contract with the state of each deployed stack. It
# names no folder, so a checkout elsewhere has the same.
COMMAND = "exec python3 -m jarvis.pki.issue"
# All inputs of a local command but stdin, by their names in Python. A difference in one of them says nothing
# of the secret, so the engine keeps what the state has.
FROZEN = (
    "add_previous_output_in_env",
    "archive_paths",
    "asset_paths",
    "create",
    "delete",
    "dir",
    "environment",
    "interpreter",
    "logging",
    "triggers",
    "update",
)


@dataclass(frozen=True, kw_only=True)
class LocalSecretArgs:
    """``request``: what the generator reads as one JSON object (``jarvis.pki.request``); values may be secret
    Outputs. The secret is made anew when it changes, and for nothing else."""

    request: Mapping[str, pulumi.Input[Any]]


class LocalSecret(Command):
    """The result of the generator, secret, stable until its request changes.

    ``value`` is the generator's stdout as a secret Output.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, args: LocalSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        request = pulumi.Output.all(**args.request)
        super().__init__(
            name,
            create=COMMAND,
            stdin=request.apply(lambda known: json.dumps(known, sort_keys=True)),
            interpreter=["/bin/sh", "-c"],
            logging=Logging.NONE,
            add_previous_output_in_env=False,
            opts=merged(
                opts,
                additional_secret_outputs=["stdout", "stderr"],
                ignore_changes=list(FROZEN),
            ),
        )
        self.value = pulumi.Output.secret(self.stdout)
