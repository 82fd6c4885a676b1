"""Asks Kubernetes' API, on a server of the control plane, who owns which field of objects."""

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
    """What the API answered.

    Attributes:
        live: the objects of the kinds and namespaces that the API was asked for.
        silent: why it could not be asked, by server of the control plane. Nothing is known then.
    """

    live: Mapping[Identity, Live] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """Why the API could not be asked, on all servers; empty where it answered."""
        return "; ".join(f"{server}: {why}" for server, why in self.silent.items())


def paths(objects: Iterable[Identity]) -> list[str]:
    """The paths of the API's lists that ``objects`` are in; without any, those of all kinds."""
    named = set(objects)
    if not named:
        return [KINDS[kind].path() for kind in sorted(KINDS)]
    return sorted({KINDS[one.kind].path(one.namespace) for one in named if one.kind in KINDS})


def read_lists(answer: bytes, lists: Sequence[str]) -> dict[Identity, Live]:
    """Reads the answer of ``objects.sh``.

    The answer has one list for each path, in their order. Items do not say their kind, so it is read from the
    path.

    Args:
        answer: what the script printed.
        lists: the paths that it was given.

    Raises:
        ValueError: the answer is something else.
        KeyError: a list lacks its items, or an item its name.
    """
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
    """Asks Kubernetes' API for lists of objects, on the first server where it answers.

    Args:
        env: the environment.
        servers: of the control plane, to try in this order.
        lists: the paths of the lists.
        folder: what the paths of keys are relative to.

    Returns:
        The objects; or why the API could not be asked on any of the servers.
    """
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
    """Those of ``servers`` that run an API server."""
    return [server for server in servers if ServerRole.CONTROL_PLANE in server.roles]
