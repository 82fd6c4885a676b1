"""Declared objects in a real Keystone and Glance: made, adopted, changed by hand, put right, removed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jarvis.config.openssh import said
from jarvis.drift.declared import NAME, Former, Judged, Objects, judge, question
from jarvis.drift.keystone import COMMAND
from jarvis.openstack.declared.catalogue import KINDS, declared
from jarvis.openstack.declared.content import Contents
from jarvis.openstack.declared.model import Declaration, Wanted, program_text
from jarvis.openstack.declared.program import ADMINISTRATOR, digests
from tests.images.test_built import ask, free_ports, glance_of_files, serving, unpack
from tests.images.test_registered import GLANCES, PASSWORD, Admin, Cloud, cloud
from tests.unit.test_drift import went
from tests.unit.test_hosts_clock import environment

__all__ = ["cloud"]

DISK, OTHER = b"\0" * 4096 + b"disk" * 1024, b"\0" * 4096 + b"kisd" * 1024


@dataclass(frozen=True)
class Openstack:
    """Both services; ``folder`` has the program and the files of images, as a server has them."""

    cloud: Cloud
    image: str
    folder: Path

    def asked(self, objects: list[Wanted]) -> dict[str, Any]:
        asked = question(self.cloud.registered, objects, 60)
        return {**asked, "endpoints": {"image": self.image}}

    def run(self, action: str, one: Wanted) -> tuple[int, str]:
        """As the object's resource does it on a server; its exit status, and what it says."""
        told = one.told()
        told.pop("content", None)
        if one.sha256:
            told["source"] = {"path": str(self.folder / "image"), "sha256": one.sha256}
        (self.folder / ADMINISTRATOR).write_text(json.dumps(self.asked([])))
        done = subprocess.run(
            [sys.executable, str(self.folder / "objects.py"), action, json.dumps(told)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return done.returncode, (done.stdout or done.stderr).strip()

    async def ask(self, asked: Mapping[str, Any]) -> dict[str, Any] | str:
        """As a preview asks, through a shell."""
        text = f"{json.dumps({**asked, 'endpoints': {'image': self.image}})}\n{program_text(KINDS)}".encode()
        told = await said(["bash", "-c", COMMAND], text)
        return told if isinstance(told, str) else dict(json.loads(told[0]))

    def judged(self, expected: list[Wanted], new: list[Wanted]) -> Judged:
        answer = asyncio.run(self.ask(self.asked([*expected, *new])))
        assert isinstance(answer, dict)
        assert "error" not in answer, answer
        return judge(expected, new, answer["found"])

    def place(self, content: bytes = DISK) -> Path:
        """The file of an image, as it is copied to the server."""
        path = self.folder / "image"
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def openstack(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Openstack]:
    root = tmp_path_factory.mktemp("glance")
    root.chmod(0o755)
    image = unpack("glance", root)
    (port,) = free_ports(1)
    login = {
        "AUTH_TYPE": "password",
        "AUTH_URL": cloud.url,
        "USERNAME": "glance",
        "PASSWORD": GLANCES,
        "USER_DOMAIN_NAME": "Default",
        "PROJECT_NAME": "service",
        "PROJECT_DOMAIN_NAME": "Default",
    }
    variables = {
        **glance_of_files(image),
        **{f"OS_KEYSTONE_AUTHTOKEN__{name}": value for name, value in login.items()},
    }
    image.run("glance-manage", "db", "sync", **variables)
    folder = tmp_path_factory.mktemp("server")
    (folder / "objects.py").write_text(program_text(KINDS))
    with serving(image, port, variables) as server:
        url = f"http://127.0.0.1:{port}"
        assert ask(server, f"{url}/healthcheck", {})[0] == 200
        yield Openstack(cloud, url, folder)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("content") / "disk"
    path.write_bytes(DISK)
    return {**digests(str(path), "sha256", "sha512"), "size": len(DISK)}


def objects(content: Mapping[str, Any], **image: Any) -> list[Declaration]:
    """An environment's objects, of each kind."""
    assigned = [
        {"role": "member", "group": "researchers", "project": "research"},
        {"role": "reader", "user": "alice", "project": "research"},
        {"role": "reader", "group": "researchers", "domain": "Default"},
        {"role": "reader", "group": "researchers", "system": True},
    ]
    its = {
        "name": "debian 12",
        "file": "x",
        "sha256": content["sha256"],
        "format": "raw",
        "min_disk_gib": 1,
        "properties": {"hw_disk_bus": "scsi", "os_distro": "debian"},
        **image,
    }
    env = environment(
        1,
        openstack={
            "objects": {
                "projects": [{"name": "research", "description": "All of them"}, {"name": "empty"}],
                "groups": [{"name": "researchers"}],
                "role_assignments": assigned,
                "images": [its, {**its, "name": "own", "project": "research", "visibility": "private"}],
            }
        },
    )
    return declared(env)


def wanted(content: Mapping[str, Any], **image: Any) -> dict[str, Wanted]:
    """The same, with what the operator's machine knows of the content, by key."""
    return {
        one.key: replace(one.wanted, content=content if one.wanted.sha256 else {})
        for one in objects(content, **image)
    }


def glance(openstack: Openstack, method: str, path: str, body: Any = None, kind: str = "") -> Any:
    """Somebody with the administrator's rights, at Glance."""
    admin = Admin(openstack.cloud.url)
    headers = {"X-Auth-Token": admin._keystone.token or "", "Content-Type": kind or "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{openstack.image}/v2{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else {}


def patch(openstack: Openstack, name: str, *changes: dict[str, Any]) -> None:
    image = the_image(openstack, name)
    kind = "application/openstack-images-v2.1-json-patch"
    glance(openstack, "PATCH", f"/images/{image['id']}", list(changes), kind)


def the_image(openstack: Openstack, name: str) -> dict[str, Any]:
    [one] = glance(openstack, "GET", f"/images?visibility=all&name={quote(name)}")["images"]
    return dict(one)


def make_all(openstack: Openstack, all_of_them: Mapping[str, Wanted]) -> dict[str, str]:
    told = {}
    for key, one in all_of_them.items():
        if one.sha256:
            openstack.place()
        status, text = openstack.run("adopt", one)
        assert status == 0, text
        told[key] = text.removeprefix(f"{key}: ")
    return told


def test_objects_are_made_once_and_found_as_they_shall_be(
    openstack: Openstack, content: dict[str, Any]
) -> None:
    admin, every = Admin(openstack.cloud.url), wanted(content)
    # A user is not declared, and has to be there before anything is made.
    reader = "role-assignment/reader/user/alice/project/research"
    assert openstack.judged([], list(every.values())).conflicts == {reader: ["there is no user/alice"]}
    admin.call("POST", "/users", {"user": {"name": "alice", "domain_id": "default"}})
    assert openstack.judged([], list(every.values())).conflicts == {}
    assert set(make_all(openstack, every).values()) == {"made"}
    # The copy on the server goes once it is uploaded.
    assert not (openstack.folder / "image").exists()
    assert openstack.judged(list(every.values()), []) == Judged(found={key: [] for key in every})
    # What somebody made by hand as it is declared is taken over.
    assert openstack.judged([], list(every.values())).conflicts == {}
    assert set(make_all(openstack, every).values()) == {"adopted"}
    assert {openstack.run("keep", one)[1] for one in every.values()} == {
        f"{key}: as it shall be" for key in every
    }
    owner = admin.the("projects", name="research")["id"]
    assert the_image(openstack, "own")["owner"] == owner
    assert the_image(openstack, "debian 12")["os_hash_value"] == content["sha512"]


Change = Callable[[Openstack, Admin], object]
PROJECT_KEY, GROUP_KEY, IMAGE_KEY = "project/research", "group/researchers", "image/debian 12"
MEMBER = "role-assignment/member/group/researchers/project/research"
CHANGES: list[tuple[list[Change], dict[str, list[str]]]] = [
    (
        [
            lambda o, a: a.change(
                "projects", a.the("projects", name="research"), description="x", enabled=False
            ),
            lambda o, a: a.change("groups", a.the("groups", name="researchers"), description="y"),
        ],
        {
            PROJECT_KEY: ['description is "x", not "All of them"', "enabled is false, not true"],
            GROUP_KEY: ['description is "y", not ""'],
        },
    ),
    (
        [
            lambda o, a: a.call(
                "DELETE",
                f"/projects/{a.the('projects', name='research')['id']}/groups/"
                f"{a.the('groups', name='researchers')['id']}/roles/{a.the('roles', name='member')['id']}",
            )
        ],
        {MEMBER: ["missing"]},
    ),
    (
        [
            lambda o, a: patch(
                o,
                "debian 12",
                {"op": "replace", "path": "/visibility", "value": "community"},
                {"op": "replace", "path": "/min_disk", "value": 2},
                {"op": "replace", "path": "/hw_disk_bus", "value": "virtio"},
                {"op": "remove", "path": "/os_distro"},
                {"op": "add", "path": "/hw_machine_type", "value": "q35"},
                {"op": "replace", "path": "/protected", "value": True},
                {"op": "replace", "path": "/os_hidden", "value": True},
            )
        ],
        {
            IMAGE_KEY: [
                'visibility is "community", not "public"',
                "hidden is true, not false",
                "protected is true, not false",
                "min_disk_gib is 2, not 1",
                'properties.hw_disk_bus is "virtio", not "scsi"',
                'properties.hw_machine_type is "q35", and not declared',
                'properties.os_distro is missing, not "debian"',
            ]
        },
    ),
    (
        [lambda o, a: glance(o, "DELETE", f"/images/{the_image(o, 'debian 12')['id']}")],
        {IMAGE_KEY: ["missing"]},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CHANGES, ids=[str(at) for at in range(len(CHANGES))])
def test_what_somebody_changed_is_named_and_put_right(
    openstack: Openstack, content: dict[str, Any], changes: list[Change], expected: dict[str, list[str]]
) -> None:
    every, admin = wanted(content), Admin(openstack.cloud.url)
    for change in changes:
        change(openstack, admin)
    found = openstack.judged(list(every.values()), []).found
    assert {key: sentences for key, sentences in found.items() if sentences} == expected
    # To somebody who has made it, it would be said before anything is changed.
    there = {key: each for key, each in expected.items() if each != ["missing"]}
    assert openstack.judged([], list(every.values())).conflicts == there
    for key, sentences in there.items():
        openstack.place()
        status, text = openstack.run("adopt", every[key])
        assert (status, text) == (1, f"{key}: is there already, and differs: {'; '.join(sentences)}")
    for key in expected:
        openstack.place()
        assert openstack.run("keep", every[key])[0] == 0
    assert openstack.judged(list(every.values()), []).found == {key: [] for key in every}


def upload(openstack: Openstack, body: bytes | None, **fields: Any) -> dict[str, Any]:
    """An image that somebody makes by hand."""
    made = glance(
        openstack,
        "POST",
        "/images",
        {
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "public",
            "min_disk": 1,
            "hw_disk_bus": "scsi",
            "os_distro": "debian",
            **fields,
        },
    )
    if body is not None:
        glance(openstack, "PUT", f"/images/{made['id']}/file", body, "application/octet-stream")
    return dict(made)


def test_the_content_of_an_image_is_what_was_declared(openstack: Openstack, content: dict[str, Any]) -> None:
    one = wanted(content, name="by hand")["image/by hand"]
    made = upload(openstack, OTHER, name="by hand")
    told = "content is another than that of sha256"
    assert openstack.judged([one], []).found == {one.key: [told]}
    assert openstack.judged([], [one]).conflicts == {one.key: [told]}
    openstack.place()
    assert openstack.run("adopt", one) == (1, f"{one.key}: is there already, and differs: {told}")
    # By size, where Glance is told to compute another digest.
    unknown = replace(one, content={"md4": "x", "size": 1})
    assert openstack.judged([unknown], []).found == {one.key: [f"content has {len(OTHER)} bytes, not 1"]}
    glance(openstack, "DELETE", f"/images/{made['id']}")
    # A run that was cut off left one without content.
    upload(openstack, None, name="by hand")
    assert openstack.judged([one], []).found == {one.key: ["content is missing (status queued)"]}
    assert openstack.judged([], [one]).conflicts == {}
    assert openstack.run("adopt", one)[0] == 0
    assert openstack.judged([one], []).found == {one.key: []}
    # Two of the same name: nothing tells which.
    upload(openstack, DISK, name="by hand")
    twice = "there are 2 of this name, and nothing tells which one is meant"
    assert openstack.judged([], [one]).conflicts == {one.key: [twice]}
    assert openstack.run("remove", one) == (1, f"{one.key}: {twice}")


def test_an_image_is_made_of_the_right_file_or_not_at_all(
    openstack: Openstack, content: dict[str, Any]
) -> None:
    one = wanted(content, name="fresh")["image/fresh"]
    path = openstack.place(OTHER)
    status, text = openstack.run("adopt", one)
    assert status == 1
    assert f"not {content['sha256']}" in text
    path.unlink()
    told = (
        f"image/fresh: its file {path} is not there; type: pulumi up --replace '**CopyToRemote::image/fresh'"
    )
    assert openstack.run("keep", one) == (1, told)
    assert openstack.judged([], [one]) == Judged()
    # What Glance refuses leaves nothing half made.
    wrong = replace(one, fields={**one.fields, "format": "qcow2"})
    openstack.place()
    assert openstack.run("adopt", wrong)[0] == 1
    assert openstack.judged([], [one]) == Judged()
    # In one step, protected from the first.
    shielded = replace(one, fields={**one.fields, "protected": True})
    openstack.place()
    assert openstack.run("adopt", shielded) == (0, "image/fresh: made")
    assert the_image(openstack, "fresh")["protected"] is True
    other = replace(shielded, fields={**shielded.fields, "format": "qcow2"})
    assert "that cannot be changed" in openstack.run("keep", other)[1]


def test_a_preview_names_all_that_is_wrong_in_one_error(
    openstack: Openstack, content: dict[str, Any]
) -> None:
    env = went(
        environment(
            1,
            openstack={
                "objects": {
                    "projects": [{"name": "research"}, {"name": "empty"}],
                    "role_assignments": [{"role": "member", "user": "nobody", "project": "research"}],
                }
            },
        )
    )
    former = {"project/empty": Former(wanted=wanted(content)["project/empty"])}
    looked = Objects(env, former, openstack.cloud.registered, Contents(), ask=openstack.ask)
    assert asyncio.run(looked.look()).found == {NAME: {"project/empty": []}}
    with pytest.raises(Exception, match="nothing has been changed") as caught:
        looked.check()
    text = str(caught.value)
    assert 'projects[0]: project/research: description is "All of them", not ""' in text
    assert (
        "role_assignments[0]: role-assignment/member/user/nobody/project/research: there is no user/nobody"
        in text
    )


def test_asking_changes_nothing(openstack: Openstack, content: dict[str, Any]) -> None:
    folders = [Path(openstack.cloud.image.root, "volume/data")]
    before = [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())]
    every = list(wanted(content).values())
    openstack.judged(every, [])
    assert [path.read_bytes() for folder in folders for path in sorted(folder.iterdir())] == before


def test_what_leaves_the_environment_goes(openstack: Openstack, content: dict[str, Any]) -> None:
    every = wanted(content)
    for key in reversed(every):
        assert openstack.run("remove", every[key]) == (0, f"{key}: removed")
    for key, one in every.items():
        assert openstack.run("remove", one) == (0, f"{key}: is not there")
    protected = wanted(content, name="fresh")["image/fresh"]
    assert openstack.run("remove", protected) == (0, "image/fresh: removed")
    assert openstack.judged([], list(every.values())).found == {}
