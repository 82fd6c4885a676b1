"""Asks Keystone, through a server, for what Jarvis registered in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jarvis.config import Environment, Server, ServerRole
from jarvis.config.access import wait_seconds
from jarvis.config.load import PROJECT
from jarvis.config.openssh import Client, openssh, said
from jarvis.core.text import read_beside
from jarvis.drift.ask import Looked, deployed
from jarvis.drift.registered import (
    Registered,
    UnreadableError,
    judge,
    question,
    read_answers,
    read_brief,
    refused,
)
from jarvis.drift.seen import one_line
from jarvis.drift.source import Source

NAME = "Keystone"
# Seconds that Keystone has for each request; a healthy one answers within one. Where it is down, the run
# waits that long, and goes on.
ANSWER_SECONDS = 10
# Seconds beyond the connection's, for two logins and two rounds of reading.
_ALL_SECONDS = 4 * ANSWER_SECONDS
# The first line is the question; what follows is the program. Secrets are in no command line and in no file.
COMMAND = (
    "exec python3 -c 'import io, sys; asked = sys.stdin.readline(); program = sys.stdin.read();"
    " sys.stdin = io.StringIO(asked); exec(program)'"
)


def program() -> str:
    """The program that runs on the server."""
    return read_beside(__file__, "ask_keystone.py")


def keystone_source(env: Environment, registered: Registered | None) -> Source:
    """Keystone as a source of findings.

    Args:
        env: the environment, which knows what is deployed.
        registered: what the last finished ``up`` registered; ``None`` where no record tells.
    """
    return Source(name=NAME, look=lambda: look(env, registered))


def askers(env: Environment) -> list[Server]:
    """The servers through which Keystone is asked, in the order in which they are tried.

    They are those with its database. Whoever is root there controls Keystone anyway, so the administrator's
    password gives them no more; and they have Python.
    """
    return [server for server in deployed(env) if ServerRole.DATABASE in server.roles]


async def look(env: Environment, registered: Registered | None, folder: Path = PROJECT) -> Looked:
    """Asks Keystone for drift: briefly first, and for everything where that finds something.

    Args:
        env: the environment.
        registered: what the last finished ``up`` registered; ``None`` where no record tells, and then nobody
            is asked.
        folder: what the paths of keys are relative to.

    Returns:
        The findings by resource, or why Keystone could not be asked. Both, where it refuses the
        administrator.
    """
    if registered is None:
        return Looked()
    seconds = wait_seconds(env)
    with openssh(env, seconds, folder) as client:

        async def ask(*, brief: bool) -> dict[str, Any] | str:
            asked = question(registered, ANSWER_SECONDS * env.patience, brief=brief)
            text = f"{json.dumps(asked)}\n{program()}".encode()
            return await first(client, askers(env), text, seconds + _ALL_SECONDS * env.patience)

        answer = await ask(brief=True)
        if isinstance(answer, str):
            return Looked(silent={NAME: answer})
        try:
            if answer.get("admin") == "project":
                found = judge(registered, read_brief(answer))
                if not any(found.values()):
                    return Looked(found={NAME: found})
        except UnreadableError as error:
            return Looked(silent={NAME: str(error)})
        answer = await ask(brief=False)
    if isinstance(answer, str):
        return Looked(silent={NAME: answer})
    if answer.get("admin") == "refused":
        why = "its administrator is not let in"
        return Looked(found={NAME: refused(registered)}, silent={NAME: why})
    try:
        found = judge(registered, read_answers(answer))
        return Looked(found={NAME: {resource: list(map(one_line, each)) for resource, each in found.items()}})
    except UnreadableError as error:
        return Looked(silent={NAME: str(error)})


async def first(
    client: Client, servers: Sequence[Server], text: bytes, seconds: float
) -> dict[str, Any] | str:
    """Asks Keystone through the first of ``servers`` that can be asked.

    Args:
        client: OpenSSH's client for the environment.
        servers: to try, in this order.
        text: standard input of ``COMMAND``.
        seconds: that each server has for the answer.

    Returns:
        What ``ask_keystone.py`` prints; or, as a ``str``, why there is no answer.
    """
    reasons = []
    for server in servers:
        try:
            told = await asyncio.wait_for(said(client.command(server, COMMAND), text), seconds)
        except TimeoutError:
            told = "no answer in time"
        if isinstance(told, str):
            reasons.append(f"{server.name}: {told}")
            continue
        try:
            answer = json.loads(told[0])
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            # Without what it said, which may be anything.
            return f"{server.name} said something else than an answer"
        return f"{server.name}: {answer['error']}" if "error" in answer else answer
    return "; ".join(reasons) or "no deployed server has a database"
