"""A secret made on the operator's machine once, and kept in the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command.local import Command, Logging

from jarvis.core.component import Unwrapped


@dataclass(frozen=True, kw_only=True)
class LocalSecretArgs:
    """What makes the secret.

    - ``module``: a Python module of Jarvis, run as ``python3 -m <module>`` in the project's folder; it reads
      one JSON object from stdin and writes the result to stdout.
    - ``request``: that object; values may be secret Outputs. The secret is made anew when it changes.
    """

    module: str
    request: Mapping[str, pulumi.Input[Any]]


class LocalSecret(Unwrapped, Command, once_in="remote:LocalSecret"):
    """The result of a generator, secret, stable until its request changes.

    ``value`` is the generator's stdout as a secret Output.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, args: LocalSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        request = pulumi.Output.all(**args.request)
        super().__init__(
            name,
            create=f"exec python3 -m {args.module}",
            stdin=request.apply(lambda known: json.dumps(known, sort_keys=True)),
            interpreter=["/bin/sh", "-c"],
            logging=Logging.NONE,
            add_previous_output_in_env=False,
            opts=self.own_options(name, opts, additional_secret_outputs=["stdout", "stderr"]),
        )
        self.value = pulumi.Output.secret(self.stdout)
