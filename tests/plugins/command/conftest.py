"""Fixtures of the command adapter's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ssh_server import Listener, Server, start_server

from toolchain.plugins.command.pool import Pool
from toolchain.plugins.common.provider import Cancellation, Operation


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts an sshd; extra sshd_config lines as its argument."""
    made: list[Server] = []

    def make(options: str = "") -> Server:
        server = start_server(tmp_path / f"sshd-{len(made)}", options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    """A running sshd."""
    return make_server()


@pytest.fixture
def pool() -> Iterator[Pool]:
    """The connections of one plugin process."""
    made = Pool()
    yield made
    made.close()


@pytest.fixture
def op() -> Operation:
    """An operation of its own, not cancelled, that logs to a `Listener`."""
    return Operation("urn:test", "command:remote:Command", "test", Listener(), Cancellation())
