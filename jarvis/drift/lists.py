"""Asks the API of Kubernetes, on a server of the control plane, who owns which field of objects."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jarvis.config import Environment, Server, ServerRole
from jarvis.config.access import wait_seconds
from jarvis.config.load import PROJECT
from jarvis.config.openssh import openssh
from jarvis.core.identity import KINDS, Identity
from jarvis.core.text import read_beside
from jarvis.drift.ask import answer_seconds, run
from jarvis.drift.owners import Live, read_live


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the API said: the ``live`` objects of the kinds and namespaces that it was asked for. ``silent``:
    why it could not be asked, by server of the control plane; then nothing is known."""

    live: Mapping[Identity, Live] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """Why it could not be asked, of all servers; empty where it was."""
        return "; ".join(f"{server}: {why}" for server, why in self.silent.items())


def paths(objects: Iterable[Identity]) -> list[str]:
    """The paths of the lists that ``objects`` are in; of all lists of all kinds where none are named."""
    named = set(objects)
    if not named:
        return [KINDS[kind].path() for kind in sorted(KINDS)]
    return sorted({KINDS[one.kind].path(one.namespace) for one in named if one.kind in KINDS})


def read_lists(answer: bytes, lists: Sequence[str]) -> dict[Identity, Live]:
    """The objects in the answer of ``objects.sh`` for the paths ``lists``: a list each, in their order, whose
    items do not say of which kind they are. Raises ``ValueError`` for anything else."""
    kinds = {kind.path().rpartition("/")[2]: kind.name for kind in KINDS.values()}
    found: dict[Identity, Live] = {}
    text = answer.decode().strip()
    decoder = json.JSONDecoder()
    for path in lists:
        listed, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        if not isinstance(listed, dict) or listed.get("kind") != "PartialObjectMetadataList":
            raise ValueError(f"no list for {path}")
        for one in listed["items"] or ():
            metadata = one["metadata"]
            name = Identity(
                kind=kinds[path.rpartition("/")[2]],
                namespace=metadata.get("namespace", ""),
                name=metadata["name"],
            )
            found[name] = read_live(metadata)
    if text:
        raise ValueError("more than the lists that were asked for")
    return found


def _script() -> str:
    return read_beside(__file__, "objects.sh")


async def ask(
    env: Environment, servers: Sequence[Server], lists: Sequence[str], folder: Path = PROJECT
) -> Asked:
    """What the API of ``env`` says of the lists at the paths ``lists``, on the first of ``servers`` where it
    answers. ``folder``: what the paths of keys are relative to."""
    silent: dict[str, str] = {}
    line = f"exec env JARVIS_PATIENCE_FACTOR={env.patience} bash -s -- {shlex.join(lists)}"
    with openssh(env, wait_seconds(env), folder) as client:
        for server in servers:
            try:
                said = await asyncio.wait_for(run(client, server, line, _script()), answer_seconds(env))
                if not isinstance(said, str):
                    return Asked(live=await asyncio.to_thread(read_lists, said, lists))
                silent[server.name] = said
            except TimeoutError:
                silent[server.name] = "no answer in time"
            except (ValueError, KeyError):
                silent[server.name] = "it said something else than lists of objects"
    return Asked(silent=silent)


def control_plane(env: Environment, servers: Sequence[Server]) -> list[Server]:
    """Those of ``servers`` that have an API server."""
    return [server for server in servers if ServerRole.CONTROL_PLANE in server.roles]
