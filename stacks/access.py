"""The files that lead an operator to the cloud: kubeconfig, clouds.yaml and the gateway's authority."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pulumi

from jarvis.core.private import write_private

# Names the folder with one folder for each stack; ``.jarvis/env`` sets it.
VARIABLE = "JARVIS_STACKS"
# What the stack's output has in place of the folder that clouds.yaml is written to.
FOLDER = "@FOLDER@"


@dataclass(frozen=True, kw_only=True)
class AccessFile:
    """One file.

    - ``content``: its text, secret or not, by the folder that it is written to.
    - ``after``: the resources with which it is true. Credentials of a deployment that was broken off halfway
      would be refused by the half that is still the old one.
    """

    content: Callable[[str], pulumi.Input[str]]
    after: list[pulumi.Resource] = field(default_factory=list)


def stack_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder of this stack's files; ``None`` where the operator's shell names none or has none for it."""
    base = environment.get(VARIABLE)
    folder = Path(base) / pulumi.get_stack() if base else None
    return folder if folder is not None and folder.is_dir() else None


def keep_access(files: Mapping[str, AccessFile], folder: Path | None) -> None:
    """Writes each of ``files``, by its name, into ``folder`` (mode 0600), once the deployment made it true.

    A preview writes nothing, and nothing is written without a folder. So what an operator uses after a plain
    ``pulumi up`` is of the cloud that this deployed, also where another one was there before.

    Raises ``OSError`` from the deployment where a file cannot be written.
    """
    if folder is None or pulumi.runtime.is_dry_run():
        return
    for name, file in files.items():
        pulumi.Output.all(file.content(str(folder)), *(_identity(each) for each in file.after)).apply(
            partial(_write, folder, name)
        )


def _identity(resource: pulumi.Resource) -> pulumi.Output[str]:
    """Known once the resource is there."""
    assert isinstance(resource, pulumi.CustomResource)
    return resource.id


def _write(folder: Path, name: str, values: list[str]) -> None:
    write_private(folder / name, values[0])
