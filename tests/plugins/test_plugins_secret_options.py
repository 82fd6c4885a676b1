"""A secret option as an operator types it, before the real engine: encrypted in the file and the state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi_cli import ROOT, Stack

# What docs/operating.md says.
PATH = 'jarvis:environment.openstack.keystone.secret_options["ldap.password"]'
SECRET = "hunter2-is-the-secret"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0"
ROLES = ["etcd", "control-plane", "worker", "registry", "gateway", "database", "queue", "storage"]
ENVIRONMENT = {
    "name": "dev",
    "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
    "servers": [{"name": "a", "address": "192.0.2.1", "host_key": KEY, "roles": ROLES}],
    "openstack": {"keystone": {"options": {"token.expiration": 14400}}},
}
PROGRAM = """
import sys
sys.path.insert(0, root)
from pulumi_command.local import Command
from jarvis.config import load_environment

keystone = load_environment().openstack.keystone
(option,) = keystone.secret_options.values()
Command("open", create=f"echo {keystone.options['token.expiration']}")
Command("hidden", create="wc -c", stdin=pulumi.Output.secret(option.get_secret_value()))
print(keystone)
"""


@pytest.fixture
def stack(stack: Stack) -> Stack:
    """A stack with an environment of one server."""
    stack.write(PROGRAM, {"root": str(ROOT)})
    stack.environment["PULUMI_OPTION_CONFIG_FILE"] = str(stack.folder / "Pulumi.dev.yaml")
    write(stack, lambda environment: None)
    return stack


def write(stack: Stack, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the environment in the configuration file."""
    file = Path(stack.environment["PULUMI_OPTION_CONFIG_FILE"])
    document = yaml.safe_load(file.read_text()) or {}
    config = document.setdefault("config", {})
    change(config.setdefault("jarvis:environment", ENVIRONMENT))
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_secret_option_is_read_and_stands_nowhere_in_the_open(stack: Stack) -> None:
    stack.run("config", "set", "--secret", "--path", PATH, SECRET, "--stack", stack.name)
    assert SECRET not in stack.files()
    previewed = stack.preview("--diff")
    done = stack.up()
    found = stack.resources()
    assert found["hidden"]["outputs"]["stdout"] == str(len(SECRET))
    # The rest of the environment did not become secret with it.
    assert found["open"]["outputs"]["stdout"] == "14400"
    for text in (previewed.output, done.output, str(previewed.events), str(done.events), stack.files()):
        assert SECRET not in text
    assert "14400" in previewed.output


def test_a_secret_option_in_the_open_ends_the_preview(stack: Stack) -> None:
    def spoil(environment: dict[str, Any]) -> None:
        environment["openstack"]["keystone"]["secret_options"] = {"ldap.password": SECRET}

    write(stack, spoil)
    run = stack.preview(succeed=False)
    assert "openstack.keystone.secret_options.ldap.password" in run.output
    assert "pulumi config set --secret --path" in run.output
    assert SECRET not in run.output
