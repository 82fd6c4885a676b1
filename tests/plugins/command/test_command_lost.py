"""A server that is gone for good, with the real engine: no command goes there, whatever happens next."""

from __future__ import annotations

from pathlib import Path

import pytest
from pulumi_cli import ROOT, Stack
from ssh_server import Server

# Servers as the stacks make them: a command that empties the server, and roles that end with it. Of the real
# components only the one that forgets is used; the others would write to this machine.
PROGRAM = """
import sys
from types import SimpleNamespace
sys.path.insert(0, root)
import pulumi_command as command
from jarvis.core.component import Component
from jarvis.hosts.lost import LostServer, LostServerArgs
from jarvis.remote import Target
from jarvis.remote.script import command_options

class Tools(Component, token="remote:ServerTools"):
    pass

class Host(Component, token="hosts:Host"):
    def __init__(self, name):
        super().__init__(name)
        where = connections[name]
        bare = Target(server=name, host=where["host"], port=where["port"], user=where["user"],
            host_key=where["host_key"], private_key=pulumi.Output.secret(where["private_key"]))
        self.target = bare.ending_with(self)
        tools = Tools(f"{name}-apply", self.child())
        copy = command.remote.CopyToRemote(f"{name}-apply", connection=bare.connection(),
            source=pulumi.FileAsset(f"{root}/README.md"), remote_path=f"{folder}/{name}-copy",
            opts=tools.child(**command_options(bare)))
        command.remote.Command(f"{name}-apply", connection=bare.connection(), 
            create=f"echo {name} >>{folder}/made",
            delete=f"echo {name} >>{folder}/emptied", add_previous_output_in_env=False,
            opts=tools.child(**command_options(bare), depends_on=[copy]))
        self.base_ready = command.remote.Command(f"{name}-base", connection=self.target.connection(),
            create="true", delete=f"echo {name} >>{folder}/undone",
            opts=self.child(**command_options(self.target)))

hosts = [Host(name) for name in present]
for name in lost:
    LostServer(f"{name}-lost", LostServerArgs(server=SimpleNamespace(name=name), survivor=hosts[0]))
# A role that another component gave to the server.
for host, name in zip(hosts, present):
    command.remote.Command(f"{name}-role", connection=host.target.connection(), create="true",
        delete=f"echo {name} >>{folder}/undone", opts=pulumi.ResourceOptions(**command_options(host.target)))
"""


@pytest.fixture
def servers(make_server: object) -> dict[str, Server]:
    return {name: make_server("Subsystem sftp internal-sftp") for name in ("a", "b")}  # type: ignore[operator]


class Cloud:
    """A stack on the two servers."""

    def __init__(self, stack: Stack, servers: dict[str, Server], folder: Path) -> None:
        self.stack, self.servers, self.folder = stack, servers, folder

    def write(self, present: list[str], lost: list[str]) -> None:
        connections = {name: server.inputs() for name, server in self.servers.items()}
        self.stack.write(
            PROGRAM,
            {
                "root": str(ROOT),
                "folder": str(self.folder),
                "connections": connections,
                "present": present,
                "lost": lost,
            },
        )

    def told(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def cloud(stack: Stack, servers: dict[str, Server], tmp_path: Path) -> Cloud:
    made = Cloud(stack, servers, tmp_path)
    made.write(["a", "b"], [])
    stack.up()
    servers["b"].stop()
    made.write(["a"], ["b"])
    return made


def test_a_lost_server_is_forgotten_without_a_word_to_it(cloud: Cloud) -> None:
    shown = cloud.stack.preview().steps()
    assert (shown["b-base"], shown["b-role"], shown["b"]) == ("delete", "delete", "delete")
    steps = cloud.stack.up().steps()
    assert steps["b-role"] == "delete"
    # The copy of the scripts has the same name, and goes.
    assert steps["b-apply"] in ("update", "delete")
    assert cloud.told("undone") == cloud.told("emptied") == []
    found = cloud.stack.resources()
    assert not [name for name in found if name in ("b", "b-base", "b-role")]
    assert "delete" not in found["b-apply"]["inputs"]
    assert set(cloud.stack.up().steps().values()) == {"same"}
    # It may go from the configuration, and nobody knows of it any more.
    cloud.write(["a"], [])
    cloud.stack.up()
    assert not [name for name in cloud.stack.resources() if name.startswith("b")]
    assert cloud.told("undone") == cloud.told("emptied") == []


def test_a_server_that_was_lost_comes_back_as_any_other(cloud: Cloud) -> None:
    cloud.stack.up()
    cloud.servers["b"].start()
    cloud.write(["a", "b"], [])
    cloud.stack.up()
    assert sorted(cloud.told("made")) == ["a", "b", "b"]
    cloud.stack.destroy()
    assert sorted(cloud.told("emptied")) == ["a", "b"]
