"""Keystone's image under the very command of its pods: each request is judged by its own token."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jarvis.openstack.build.pods import uwsgi_command
from tests.images.test_built import PATIENCE_SECONDS, Unpacked, ask, deployed_keystone, free_ports, unpack
from tests.lab.own_token import Found, Keystone, escalations, mixtures

# With four threads a process the first wrong answers come after some seconds.
SECONDS = 20


@pytest.fixture
def deployed(tmp_path: Path) -> tuple[Unpacked, dict[str, str]]:
    """A Keystone with a database of its own, and its environment. SQLite gives numbers of rows that were
    removed to new ones, and keeps what named them: so each test has a database that is new."""
    tmp_path.chmod(0o755)
    keystone = unpack("keystone", tmp_path)
    return keystone, deployed_keystone(keystone)


@pytest.fixture
def url(deployed: tuple[Unpacked, dict[str, str]]) -> Iterator[str]:
    """Where it serves, by the command that its pods have."""
    keystone, environment = deployed
    (port,) = free_ports(1)
    words = uwsgi_command(module="keystone.wsgi.api:application", port=port, processes=3)
    local = [word.replace("--http-socket=", "--http-socket=127.0.0.1") for word in words]
    command, variables = keystone.words(*local, **environment)
    server = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert ask(server, f"http://127.0.0.1:{port}/v3", {})[0] == 200
        yield f"http://127.0.0.1:{port}/v3"
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("question", [escalations, mixtures])
def test_no_request_is_judged_by_the_token_of_another(
    url: str, question: Callable[[Keystone, float], Found]
) -> None:
    admin = {"username": "admin", "password": "abc", "project_name": "admin"}
    found = question(Keystone(url, admin), SECONDS)
    assert found.wrong == []
    assert set(found.right) == found.asked, "each was asked, and answered"
