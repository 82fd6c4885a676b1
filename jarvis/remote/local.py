"""A secret made on the operator's machine once, and kept in the state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_command as command

from jarvis.core.component import Component


@dataclass(frozen=True, kw_only=True)
class LocalSecretArgs:
    """What makes the secret.

    - ``module``: a Python module of Jarvis, run as ``python3 -m <module>`` in the project's folder; it reads
      one JSON object from stdin and writes the result to stdout.
    - ``request``: that object; values may be secret Outputs. The secret is made anew when it changes.
    """

    module: str
    request: Mapping[str, pulumi.Input[Any]]


class LocalSecret(Component, token="remote:LocalSecret"):
    """The result of a generator, secret, stable until its request changes.

    ``value`` is the generator's stdout as a secret Output.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, args: LocalSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        request = pulumi.Output.all(**args.request)
        run = command.local.Command(
            name,
            create=f"exec python3 -m {args.module}",
            stdin=request.apply(lambda known: json.dumps(known, sort_keys=True)),
            interpreter=["/bin/sh", "-c"],
            logging=command.local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=self.child(additional_secret_outputs=["stdout", "stderr"]),
        )
        self.value = pulumi.Output.secret(run.stdout)
        self.register_outputs({})
