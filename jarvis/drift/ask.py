"""Asks servers for drift: all side by side, over one connection each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pulumi

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.access import sudo, wait_seconds
from jarvis.config.load import PROJECT
from jarvis.config.openssh import Client, openssh, said
from jarvis.core.text import read_beside
from jarvis.drift.seen import parse
from jarvis.remote.sudo import as_root

# Connections that are being made at once. Beyond ten that have not logged in yet sshd refuses some
# (sshd_config(5), MaxStartups), and a bastion has those to all servers.
_AT_ONCE, _THROUGH_BASTION = 32, 8
# Seconds that a server has for its answer, beyond those for the connection. It takes less than one.
_ANSWER_SECONDS = 30


def answer_seconds(env: Environment) -> float:
    """Seconds that a server of ``env`` has for its answer, including the connection."""
    return wait_seconds(env) + _ANSWER_SECONDS * env.patience


class Watch(StrEnum):
    """The value of ``jarvis:observe``: whether servers are asked, and whether silence of one ends the run.

    ``FALSE`` asks nobody. ``LENIENT`` passes over servers that do not answer.
    """

    TRUE = "true"
    FALSE = "false"
    LENIENT = "lenient"


class SilentError(pulumi.RunError):
    """Servers could not be asked; the message names each."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What servers, or another source (``jarvis.drift.source.Source``), answered.

    For another source, the source's name stands for the server, and names of resources stand for roles.

    Attributes:
        found: findings by server and role. Each role that is there is named; one without drift has an empty
            list.
        silent: why a server could not be asked, by server.
    """

    found: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """A line for each finding, with its server and role."""
        return [
            f"{server}: {role}: {sentence}"
            for server, roles in self.found.items()
            for role, sentences in roles.items()
            for sentence in sentences
        ]

    def error(self) -> str:
        """The error for servers that could not be asked, with what to type; empty where all answered."""
        if not self.silent:
            return ""
        lines = "\n".join(f"  {server}: {why}" for server, why in self.silent.items())
        return (
            f"what is on these servers could not be looked at; nothing has been changed:\n{lines}\n"
            "mend that (for a server that is gone for good: lost: true, docs/operating.md), or go on without"
            " them: pulumi config set jarvis:observe lenient"
        )


def read_watch(text: str | None) -> Watch:
    """Reads the value of ``jarvis:observe``.

    Args:
        text: as the configuration has it; ``None``, and empty, mean ``true``.

    Raises:
        ConfigurationError: the text is no such value.
    """
    try:
        return Watch((text or Watch.TRUE).strip().lower())
    except ValueError:
        raise ConfigurationError(
            f"jarvis:observe is {text!r}; it is true, false, or lenient, with which a server that does not"
            " answer is passed over. Type: pulumi config set jarvis:observe true"
        ) from None


def script() -> str:
    """The script that runs on each server."""
    return read_beside(__file__, "observe.sh")


def deployed(env: Environment) -> list[Server]:
    """The servers of ``env`` that the last finished ``up`` deployed and that are not lost."""
    there = {one.name for one in env.before.servers if not one.lost}
    return [server for server in env.present if server.name in there]


async def look(env: Environment, servers: Sequence[Server], folder: Path = PROJECT) -> Looked:
    """Asks servers for drift.

    A connection is waited for as long as everywhere else (``ssh.wait_seconds``).

    Args:
        env: the environment.
        servers: those of its servers that are asked.
        folder: what the paths of keys are relative to.

    Returns:
        The findings of each server, or why it could not be asked.
    """
    seconds = wait_seconds(env)
    places = asyncio.Semaphore(_THROUGH_BASTION if env.ssh.bastion else _AT_ONCE)
    with openssh(env, seconds, folder) as client:

        async def one(server: Server) -> dict[str, list[str]] | str:
            async with places:
                try:
                    return await asyncio.wait_for(_ask(client, server), answer_seconds(env))
                except TimeoutError:
                    return "no answer in time"

        told = await asyncio.gather(*map(one, servers))
    answers = dict(zip((server.name for server in servers), told, strict=True))
    return Looked(
        found={name: answer for name, answer in answers.items() if not isinstance(answer, str)},
        silent={name: answer for name, answer in answers.items() if isinstance(answer, str)},
    )


async def _ask(client: Client, server: Server) -> dict[str, list[str]] | str:
    """Asks ``server`` for drift.

    Returns:
        Findings by role; or, as a ``str``, why the server could not be asked.
    """
    output = await run(client, server, "exec bash -s", script())
    if isinstance(output, str):
        return output
    try:
        return parse(output)
    except ValueError:
        return f"it said something else than a list of roles: {output[:80]!r}"


async def run(client: Client, server: Server, line: str, text: str) -> bytes | str:
    """Runs a command on a server, as root.

    Args:
        client: OpenSSH's client for the environment.
        server: the server.
        line: the command line.
        text: its standard input.

    Returns:
        What the command prints; or, as a ``str``, why it fails.
    """
    if sudo(client.env, server):
        line = as_root(line)
    answer = await said(client.command(server, line), text.encode())
    return answer if isinstance(answer, str) else answer[0]
