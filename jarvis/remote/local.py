"""Secrets that are generated on the operator's machine once and kept in the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command.local import Command, Logging

from jarvis.core.component import merged

# The command that makes every secret. The engine runs a command again when its text changes, which would make
# every authority and password of a cloud anew: the text is a contract with the state of each deployed stack.
# It names no folder, so it is the same in any checkout.
COMMAND = "exec python3 -m jarvis.pki.issue"
# All inputs of a local command but stdin, by their names in Python. They do not affect the secret, so the
# engine keeps the values in the state.
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
    """What to generate.

    Attributes:
        request: the generator's request (``jarvis.pki.request``); values may be secret Outputs. A changed
            request makes a new secret, and nothing else does.
    """

    request: Mapping[str, pulumi.Input[Any]]


class LocalSecret(Command):
    """A generated secret, stable until its request changes.

    Attributes:
        value: the generator's stdout, a secret Output.
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
