"""Where an operator may work: behind a proxy, in a folder with a blank, before the real engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pulumi_cli import Stack

from toolchain.workspace.model import direct

PROGRAM = """
import pulumi_command as command
one = command.local.Command("one", create="cat", stdin="text")
pulumi.export("said", one.stdout)
"""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.mark.parametrize("backend", ["", "?metadata=skip"])
def test_a_folder_with_blanks_behind_a_proxy(make_stack: Callable[[str], Stack], backend: str) -> None:
    stack = make_stack("a check out")
    # Nobody listens there: what goes by it fails.
    stack.environment.update(dict.fromkeys(PROXIES, "http://127.0.0.1:1"))
    stack.environment.update(dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(direct([]))))
    stack.environment["PULUMI_BACKEND_URL"] += backend
    stack.run("stack", "select", "--create", stack.name)
    stack.write(PROGRAM)
    stack.preview()
    stack.up()
    assert stack.resources()["one"]["outputs"]["stdout"] == "text"
    assert (stack.folder / "state" / ".pulumi" / "stacks").is_dir()
    stack.preview("--expect-no-changes")
    stack.destroy()
