"""Declared objects by the real pulumi CLI, the plugin and a real sshd; Keystone and Glance are fakes that
answer by HTTP."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pulumi_cli import ROOT, Run, Stack
from ssh_server import Server

from tests.unit.fake_openstack import Glance, Keystone, served

# As __main__.py, stacks/start.py and stacks/cloud.py put it together, of one server.
PROGRAM = """
import sys
from ipaddress import IPv4Address
from pathlib import Path
sys.path.insert(0, root)
from jarvis.config import parse_environment
from jarvis.config.before import read_before, to_record
from jarvis.core import safety
from jarvis.core.deployed import OUTPUT, last_deployed
from jarvis.core.sdk import keep_secrets_out_of_logs, settled
from jarvis.drift import DeclaredObjects as Looked, Drift, Watch, read_declared, read_kept, read_registered
from jarvis.drift import to_record as seen_record
from jarvis.hosts.preflight import target
from jarvis.openstack.build.declared import DeclaredObjects, ObjectsArgs
from jarvis.openstack.build.registration import Administrator
from jarvis.openstack.declared.catalogue import declared
from jarvis.openstack.declared.content import Contents
from jarvis.remote import ServerTools

keep_secrets_out_of_logs()

async def program():
    before = await last_deployed()
    env = parse_environment(values, "test")
    # Where no environment may have a server.
    servers = [one.model_copy(update={"address": IPv4Address("127.0.0.1")}) for one in env.servers]
    env = env.model_copy(update={"servers": servers}).after(read_before(before))
    contents = Contents(folder=Path(files))
    looked = Looked(env, read_declared(before), read_registered(before), contents)
    await looked.prepare()
    drift = Drift(env, Watch.TRUE, read_kept(before), declared=looked if looked.declarations else None)
    try:
        known = await drift.known()
        looked.check()
    finally:
        await drift.end()
    safety.begin(env.safety)
    where = target(env, env.servers[0])
    tools = ServerTools("tools", where)
    who = Administrator(url=f"{url}/v3", user="admin", project="admin", secret="", key="", ready=[tools])
    if looked.declarations:
        DeclaredObjects("objects", ObjectsArgs(
            declarations=looked.declarations,
            administrator=who,
            password=pulumi.Output.secret(password),
            authority="",
            urls={"image": url},
            ready={"keystone": [tools], "glance": [tools]},
            server=where,
            contents=contents,
            seen={key: one.lines for key, one in known.get("OpenStack", {}).items()},
            sent={one.key: looked.sent(one.key) for one in looked.declarations},
            sending=looked.sending,
        ))
    safety.check(before.get("kept", {}))
    registered = {
        "url": who.url, "authority": "", "region": "one", "resource": "keystone-bootstrap",
        "admin": {"user": "admin", "password": password, "project": "admin", "role": "admin"},
        "entries": [
            {"resource": "r", "name": "keystone", "kind": "identity", "url": who.url, "project": "admin"},
            {"resource": "r", "name": "glance", "kind": "image", "url": url, "project": "service"}],
    }
    record = {**to_record(env), **seen_record(known), "registered": registered, "kept": safety.kept(),
        **looked.left()}
    return {OUTPUT: pulumi.Output.secret(record)} if await settled() else {}

pulumi.run(program)
"""
ROLES = ["etcd", "control-plane", "worker", "registry", "gateway", "database", "queue", "storage"]
# Files that name folders of a server.
PATHS = (
    "remote/tools.py",
    "remote/service.py",
    "files/apply.sh",
    "drift/observe.sh",
    "hosts/base.py",
    "openstack/build/declared.py",
)
DISK = b"\0" * 4096
PASSWORD = "s3cret-of-the-administrator"
IMAGE = {
    "name": "debian",
    "file": "disk.raw",
    "sha256": hashlib.sha256(DISK).hexdigest(),
    "format": "raw",
    "properties": {"os_distro": "debian"},
}
OBJECTS: dict[str, Any] = {
    "projects": [{"name": "research", "description": 'it\'s "physics"'}],
    "groups": [{"name": "researchers"}],
    "role_assignments": [{"role": "member", "group": "researchers", "project": "research"}],
    "images": [IMAGE],
}
MEMBER = "role-assignment/member/group/researchers/project/research"
EVERY = {"project/research", "group/researchers", MEMBER, "image/debian"}


class Deployment:
    """The program above on a stack and a server, whose /var/lib is below ``base``."""

    def __init__(self, stack: Stack, start: Callable[[], Server], base: Path, url: str) -> None:
        self.stack, self.start, self.base, self.url = stack, start, base, url
        self.server = start()
        code = stack.folder / "jarvis"
        shutil.copytree(ROOT / "jarvis", code, ignore=shutil.ignore_patterns("__pycache__"))
        for file in PATHS:
            text = (code / file).read_text()
            assert "/var/lib/jarvis" in text, file
            (code / file).write_text(text.replace("/var/lib/jarvis", f"{base}/jarvis"))
        # The role base makes it.
        (base / "jarvis/staging").mkdir(parents=True)
        self.disk = stack.folder / "disk.raw"
        self.disk.write_bytes(DISK)

    def write(self, objects: dict[str, Any], *may_remove: str) -> None:
        known = {
            "root": str(self.stack.folder),
            "files": str(self.stack.folder),
            "url": self.url,
            "password": PASSWORD,
            "values": {
                "name": "test",
                "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
                "ssh": {
                    "user": self.server.user,
                    "port": self.server.port,
                    "private_key_file": str(self.server.folder / "id"),
                    "wait_seconds": 10,
                },
                "safety": {"may_remove": list(may_remove)},
                "servers": [
                    {"name": "s1", "address": "192.0.2.11", "host_key": self.server.host_key, "roles": ROLES}
                ],
                "openstack": {"objects": objects},
            },
        }
        self.stack.write(PROGRAM, known)


@pytest.fixture
def keystone() -> Keystone:
    fake = Keystone()
    fake.passwords = {"admin": PASSWORD}
    fake.items["projects"] = [{"id": "admins", "name": "admin", "domain_id": "default"}]
    return fake


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture
def deployment(
    stack: Stack, make_server: Callable[..., Server], tmp_path: Path, keystone: Keystone, glance: Glance
) -> Iterator[Deployment]:
    if os.getuid() != 0:
        pytest.skip("files are given to owners by root alone")
    for name in ("var", "tools"):
        (tmp_path / name).mkdir()
    # A role has no units here; systemd is told of that at its end.
    (tmp_path / "tools" / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "tools" / "enter").write_text(
        f'#!/bin/sh\nPATH={tmp_path}/tools:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"\n'
    )
    for file in (tmp_path / "tools").iterdir():
        file.chmod(0o755)
    options = f"ForceCommand {tmp_path}/tools/enter"
    with served(keystone, glance) as url:
        yield Deployment(stack, lambda: make_server(options), tmp_path / "var", url)


def changed(run: Run) -> dict[str, str]:
    return {name: op for name, op in run.steps().items() if op != "same"}


def the(keystone: Keystone, kind: str, name: str) -> dict[str, Any]:
    [one] = [one for one in keystone.items[kind] if one["name"] == name]
    return one


def test_objects_live_as_resources_do(deployment: Deployment, keystone: Keystone, glance: Glance) -> None:
    stack = deployment.stack
    # One is there already, and is taken over.
    made = {"id": "by-hand", "name": "researchers", "domain_id": "default", "description": ""}
    keystone.items["groups"] = [dict(made)]
    deployment.write(OBJECTS)
    first = stack.up()
    assert "group/researchers: adopted" in first.output
    assert "project/research: made" in first.output
    assert keystone.items["groups"] == [made]
    project = the(keystone, "projects", "research")
    assert project["description"] == 'it\'s "physics"'
    assert keystone.grants == {f"/projects/{project['id']}/groups/by-hand/roles/member"}
    assert glance.uploads == [len(DISK)]
    assert list((deployment.base / "jarvis/staging").iterdir()) == []
    # Without the file too: the image is there.
    deployment.disk.unlink()
    stack.preview("--expect-no-changes")
    stack.up("--expect-no-changes")
    state = stack.resources()
    assert {name for name, one in state.items() if one.get("protect")} >= EVERY
    assert PASSWORD not in stack.files()
    assert (deployment.base / "jarvis/openstack/administrator.json").stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in (deployment.server.folder / "sshd.log").read_text()

    # What somebody changes shows on the object alone, once.
    project["enabled"] = False
    [image] = glance.images.values()
    image |= {"hw_disk_bus": "ide", "visibility": "private"}
    preview = stack.preview("--diff")
    assert changed(preview) == {"project/research": "update", "image/debian": "update"}
    assert "warning: OpenStack: project/research: enabled is false, not true" in preview.output
    assert "+ # seen 1: enabled is false, not true" in preview.output
    assert '+ # seen 1: visibility is "private", not "public"' in preview.output
    assert '+ # seen 1: properties.hw_disk_bus is "ide", and not declared' in preview.output
    assert "project/research: changed: enabled" in stack.up().output
    assert project["enabled"] is True
    assert (image["visibility"], "hw_disk_bus" in image) == ("public", False)
    stack.preview("--expect-no-changes")

    # A change of the environment, line by line.
    other = {**OBJECTS, "projects": [{"name": "research", "description": "chemistry"}]}
    deployment.write(other)
    preview = stack.preview("--diff")
    assert changed(preview) == {"project/research": "update"}
    assert '+   "description": "chemistry"' in preview.output
    stack.up()
    assert project["description"] == "chemistry"

    # A deleted image is sent once more, and so its file is needed.
    glance.images.clear()
    refused = stack.preview(succeed=False)
    assert "image/debian: there is no file disk.raw" in refused.output
    deployment.disk.write_bytes(DISK)
    steps = changed(stack.up())
    assert set(steps) == {"image/debian"}
    assert glance.uploads == [len(DISK)] * 2
    deployment.disk.unlink()
    stack.preview("--expect-no-changes")

    # Another server is asked from now on, to which no file is sent.
    deployment.server.stop()
    deployment.server = deployment.start()
    deployment.write(other)
    stack.up()
    assert glance.uploads == [len(DISK)] * 2
    stack.preview("--expect-no-changes")
    # Until an image is to be uploaded again.
    glance.images.clear()
    deployment.disk.write_bytes(DISK)
    stack.up()
    assert glance.uploads == [len(DISK)] * 3
    stack.preview("--expect-no-changes")


def test_what_differs_ends_a_preview_and_what_leaves_is_named(
    deployment: Deployment, keystone: Keystone, glance: Glance
) -> None:
    stack = deployment.stack
    # At the first deployment nobody can be asked: the object itself refuses.
    theirs = {"id": "p", "name": "research", "domain_id": "default", "description": "theirs", "enabled": True}
    keystone.items["projects"].append(dict(theirs))
    deployment.write({"projects": OBJECTS["projects"]})
    assert "is there already, and differs: description is" in stack.up(succeed=False).output
    assert the(keystone, "projects", "research") == theirs
    deployment.write({"projects": [{"name": "research", "description": "theirs"}]})
    stack.up()

    # From then on the preview says it, of all in one error.
    keystone.items["groups"] = [
        {"id": "g", "name": "researchers", "domain_id": "default", "description": "x"}
    ]
    deployment.write({**OBJECTS, "projects": [{"name": "research", "description": "theirs"}]})
    deployment.disk.write_bytes(DISK + b"x")
    assert "image/debian: the sha256 of" in stack.preview(succeed=False).output
    deployment.disk.write_bytes(DISK)
    refused = stack.preview(succeed=False)
    assert 'groups[0]: group/researchers: description is "x", not ""' in refused.output
    assert "nothing has been changed" in refused.output
    assert "Traceback" not in refused.output
    keystone.items["groups"][0]["description"] = ""
    stack.up()

    # What is taken out is protected, and goes by name.
    deployment.write({"projects": [{"name": "research", "description": "theirs"}]})
    refused = stack.preview(succeed=False)
    assert "image/debian, with its content" in refused.output
    deployment.write(
        {"projects": [{"name": "research", "description": "theirs"}]}, *EVERY - {"project/research"}
    )
    steps = changed(stack.up("--ignore-protect"))
    assert {name for name, op in steps.items() if op == "delete"} == EVERY - {"project/research"}
    assert (keystone.items["groups"], keystone.grants, glance.images) == ([], set(), {})
    assert the(keystone, "projects", "research") == theirs

    # What is to stay in OpenStack is forgotten first. With the last one nothing is left on the server.
    urn = stack.resources()["project/research"]["urn"]
    stack.run("state", "delete", "--force", "--yes", urn)
    deployment.write({}, "project/research")
    stack.up()
    assert the(keystone, "projects", "research") == theirs
    assert set(stack.resources()) == {"tools"}
    assert not (deployment.base / "jarvis/openstack/administrator.json").exists()
