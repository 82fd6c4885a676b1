"""Compares the operator's clock with the servers', before anything is planned by it.

Renewals follow from the date of the machine that runs the program. With a clock years off, a preview would
plan new authorities for the whole cloud and an ``up`` would make them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi

from jarvis.config import Environment, Server
from jarvis.config.load import PROJECT
from jarvis.config.openssh import last_line, openssh, said

# One server is asked, and two more where it differs: a majority of three says whose clock is off.
ASKED = 3
# Seconds: for a server to accept a connection, and for all answers together.
DIAL_SECONDS = 2
PATIENCE_SECONDS = 6


class ClockError(pulumi.RunError):
    """The clock of the operator's machine is off."""


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """The servers' answers.

    Attributes:
        ahead: by server, the least seconds that the operator's clock is ahead of the server's; negative where
            it is behind, 0 where the two may be the same.
        silent: by server that did not tell its time, the reason.
    """

    ahead: Mapping[str, float]
    silent: Mapping[str, str]


def ahead(before: float, answer: int, after: float) -> float:
    """The least seconds that the operator's clock is ahead of a server's; negative where it is behind.

    Args:
        before: the operator's time before the question, seconds since 1970.
        answer: the server's time, whole seconds since 1970.
        after: the operator's time after the answer.
    """
    if before > answer + 1:
        return before - (answer + 1)
    return min(0.0, after - answer)


def verdict(clocks: Clocks, bound: float) -> tuple[str, list[str]]:
    """Judges clocks that may differ by ``bound`` seconds.

    The majority decides whose clock is off: the operator's, or single servers'.

    Returns:
        The error, or an empty text, and warnings.
    """
    fast = [name for name, seconds in clocks.ahead.items() if seconds > bound]
    slow = [name for name, seconds in clocks.ahead.items() if seconds < -bound]
    for names, side in ((fast, "ahead of"), (slow, "behind")):
        if 2 * len(names) > len(clocks.ahead):
            seconds = min(abs(clocks.ahead[name]) for name in names)
            return (
                f"the clock of this machine is {_span(seconds)} {side} the clocks of {', '.join(names)};"
                " nothing has been changed: certificates and authorities would be made anew by it. Set it"
                " right (timedatectl), or, where the servers' are wrong, theirs"
                " (preflight.max_clock_skew_seconds is how much they may differ)",
                [],
            )
    warnings = [
        f"the clock of {name} differs by {_span(abs(clocks.ahead[name]))} from that of this machine and of"
        " others: set it right there (timedatectl)"
        for name in (*fast, *slow)
    ]
    if not clocks.ahead:
        why = "; ".join(f"{name}: {reason}" for name, reason in clocks.silent.items())
        warnings.append(f"the clock of this machine was compared with no server's ({why})")
    return "", warnings


def _span(seconds: float) -> str:
    days = f" ({seconds / 86400:.0f} days)" if seconds >= 2 * 86400 else ""
    return f"{seconds:.0f} s{days}"


async def check_clock(env: Environment, folder: Path = PROJECT) -> None:
    """Compares this machine's clock with the servers'.

    One server is asked; where it differs, others are, ``ASKED`` in all. A server that does not answer is no
    mistake: it may not exist yet.

    Raises:
        ClockError: this machine's clock is off by more than ``preflight.max_clock_skew_seconds``.
    """
    bound = env.preflight.max_clock_skew_seconds
    error, warnings = verdict(await ask(env, bound, folder), bound)
    if error:
        raise ClockError(error)
    for warning in warnings:
        pulumi.log.warn(warning)


async def ask(env: Environment, bound: float, folder: Path = PROJECT) -> Clocks:
    """Asks servers for their time, one after the other, until one has answered.

    Where that one differs by more than ``bound`` seconds, servers are asked until ``ASKED`` have answered, or
    all were asked.
    """
    found: dict[str, float] = {}
    silent: dict[str, str] = {}
    rest = iter(env.servers)
    with openssh(env, DIAL_SECONDS, folder) as client:

        async def until_one_answers(servers: Iterator[Server]) -> None:
            for server in servers:
                silent[server.name] = f"no answer within {PATIENCE_SECONDS} s"
                said = await _ask(client.command(server, "exec date -u +%s"))
                if isinstance(said, float):
                    found[server.name] = said
                    del silent[server.name]
                    return
                silent[server.name] = said

        async def until_all_is_clear() -> None:
            await until_one_answers(rest)
            if any(abs(seconds) > bound for seconds in found.values()):
                await asyncio.gather(*(until_one_answers(rest) for _ in range(ASKED - 1)))

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until_all_is_clear(), PATIENCE_SECONDS)
    order = [server.name for server in env.servers if server.name in found]
    return Clocks(ahead={name: found[name] for name in order}, silent=silent)


async def _ask(words: list[str]) -> float | str:
    """The least seconds that the operator's clock is ahead of a server's, or why that is not known.

    Args:
        words: command that prints the server's time, seconds since 1970.
    """
    before = time.time()
    answer = await said(words)
    after = time.time()
    if isinstance(answer, str):
        return answer
    output, errors = answer
    return ahead(before, int(output), after) if output.strip().isdigit() else last_line(errors)
