"""The operator's clock against the servers': who is off, and what a server that does not answer means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jarvis.config import Environment, parse_environment
from jarvis.hosts import clock
from jarvis.hosts.clock import ClockError, Clocks, ahead, verdict

DAY = 86_400
# Answers as a server would: by the file of its name, with how many seconds its clock is ahead.
SSH = """#!/bin/bash
set -euo pipefail
here=$(dirname "$0")
printf '%s\\n' "$*" >>"$here/calls"
for word in "$@"; do
  case $word in
    HostKeyAlias=*) server=${word#*=} ;;
    UserKnownHostsFile=*) known=${word#*=} ;;
    IdentityFile=*)
      key=${word#*=}
      key=${key//\\"/}
      { stat --printf '%a ' "$key"; cat "$key"; } >"$here/key"
      ;;
  esac
done
known=${known//\\"/}
grep -q "^$server ssh-ed25519 AAAA-$server$" "$known"
said=$(cat "$here/$server")
case $said in
  hang) exec sleep 60 ;;
  refuse) echo "ssh: connect to host $server port 22: Connection refused" >&2; exit 255 ;;
  *) echo $(($(date -u +%s) + said)) ;;
esac
"""


def environment(count: int = 3, **sections: object) -> Environment:
    roles = ["etcd", "control-plane", "worker", "registry", "gateway", "database", "queue", "storage"]
    servers = [
        {
            "name": f"s{at}",
            "address": f"192.0.2.{at}",
            "host_key": f"ssh-ed25519 AAAA-s{at}",
            "roles": roles if at == 1 else ["worker"],
        }
        for at in range(1, count + 1)
    ]
    networks = {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100", "domain": "example.org"}
    values = {"name": "test", "networks": networks, "servers": servers, **sections}
    return parse_environment(values, "test")


Servers = Callable[..., Path]


@pytest.fixture
def servers(ssh_of: Callable[..., Path]) -> Servers:
    """A function that makes an ``ssh`` that knows servers s1, s2, …, and returns its folder."""
    return partial(ssh_of, SSH)


@pytest.mark.parametrize(
    ("before", "answer", "after", "seconds"),
    [
        (100.5, 100, 100.9, 0),  # a whole second says only in which one it was
        (100.5, 101, 130.0, 0),  # the question took long, and proves nothing
        (100.5, 90, 130.0, 9.5),
        (100.5, 140, 130.0, -10.0),
    ],
)
def test_a_difference_is_what_the_time_of_asking_cannot_explain(
    before: float, answer: int, after: float, seconds: float
) -> None:
    assert ahead(before, answer, after) == seconds


@pytest.mark.parametrize(
    ("clocks", "error", "warned"),
    [
        ({"a": 0, "b": 4, "c": -4}, "", []),
        (
            {"a": 800 * DAY, "b": 800 * DAY + 1, "c": 800 * DAY},
            "(800 days) ahead of the clocks of a, b, c",
            [],
        ),
        ({"a": -9, "b": -9, "c": 0}, "9 s behind the clocks of a, b;", []),
        ({"a": 7}, "7 s ahead of the clocks of a;", []),
        ({"a": 0, "b": 60, "c": 0}, "", ["the clock of b differs by 60 s"]),
        ({"a": 60, "b": -60, "c": 0}, "", ["the clock of a differs", "the clock of b differs"]),
        ({"a": 60, "b": 0}, "", ["the clock of a differs"]),
        ({}, "", ["compared with no server's (x: Connection refused)"]),
    ],
)
def test_the_side_is_off_against_which_most_speak(
    clocks: dict[str, float], error: str, warned: list[str]
) -> None:
    found, warnings = verdict(Clocks(ahead=clocks, silent={"x": "Connection refused"}), 5)
    assert error in found
    assert bool(error) == bool(found)
    assert len(warnings) == len(warned)
    for text, words in zip(warnings, warned, strict=True):
        assert words in text


def test_a_clock_that_is_off_ends_the_program(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers("1", "0", "0")
    asyncio.run(clock.check_clock(environment()))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 900 * DAY)
    with pytest.raises(ClockError, match=r"\(900 days\) ahead of the clocks of s\d, s\d, s\d; nothing"):
        asyncio.run(clock.check_clock(environment()))


def test_the_bound_is_the_preflights(servers: Servers, warnings: list[str]) -> None:
    servers("40", "40", "40")
    with pytest.raises(ClockError, match="behind"):
        asyncio.run(clock.check_clock(environment()))
    asyncio.run(clock.check_clock(environment(preflight={"max_clock_skew_seconds": 60})))
    assert warnings == []


def test_servers_that_do_not_answer_are_no_mistake(
    servers: Servers, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "PATIENCE_SECONDS", 2)
    servers("refuse", "refuse", "hang")
    asyncio.run(clock.check_clock(environment()))
    assert len(warnings) == 1
    assert "s1: ssh: connect to host s1 port 22: Connection refused" in warnings[0]
    assert "s3: no answer within 2 s" in warnings[0]


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (["0"] * 8, 1),  # what an unchanged preview costs
        (["refuse", *["0"] * 7], 2),
        (["refuse", "60", *["0"] * 6], 4),  # who of the two is off, two more say
    ],
)
def test_of_many_servers_a_few_are_asked(
    said: list[str], asked: int, servers: Servers, warnings: list[str]
) -> None:
    folder = servers(*said)
    asyncio.run(clock.check_clock(environment(8)))
    assert len((folder / "calls").read_text().splitlines()) == asked
    assert len(warnings) == said.count("60")


def test_no_ssh_is_no_mistake(tmp_path: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    asyncio.run(clock.check_clock(environment()))
    assert "ssh: No such file or directory" in warnings[0]


def test_ssh_is_told_what_the_configuration_says(servers: Servers, tmp_path: Path) -> None:
    folder = servers("0")
    (tmp_path / "keys").mkdir()
    # As a checkout has it, or whoever pasted it: others may read it, and its last line has no end.
    (tmp_path / "keys/id").write_text("-----BEGIN KEY-----\r\ntext\r\n-----END KEY-----")
    (tmp_path / "keys/id").chmod(0o644)
    env = environment(1, ssh={"user": "admin", "port": 2222, "private_key_file": "keys/id"})
    asyncio.run(clock.check_clock(env, tmp_path))
    (call,) = (folder / "calls").read_text().splitlines()
    for words in ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"):
        assert words in call
    assert call.endswith("-p 2222 -l admin 192.0.2.1 exec date -u +%s")
    assert (folder / "key").read_text() == "600 -----BEGIN KEY-----\ntext\n-----END KEY-----\n"
    assert not Path(call.partition('IdentityFile="')[2].partition('"')[0]).exists()
    (tmp_path / "keys/id").write_text("text\n")
    (tmp_path / "keys/id").chmod(0o600)
    asyncio.run(clock.check_clock(env, tmp_path))
    assert f'IdentityFile="{tmp_path}/keys/id"' in (folder / "calls").read_text()
