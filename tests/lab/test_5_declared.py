"""What the environment declares in OpenStack, by the ordinary client: made, taken over, mended, removed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deployment import OPENSTACK, Cloud

PROJECT, GROUP, IMAGE = "lab-research", "lab-researchers", "lab-disk"
ASSIGNMENT = f"role-assignment/member/group/{GROUP}/project/{PROJECT}"
KEYS = {f"project/{PROJECT}", f"group/{GROUP}", ASSIGNMENT, f"image/{IMAGE}"}
CONTENT = os.urandom(9 << 20)


def objects_of(file: Path) -> dict[str, Any]:
    return {
        "projects": [{"name": PROJECT, "description": "declared"}],
        "groups": [{"name": GROUP}],
        "role_assignments": [{"role": "member", "group": GROUP, "project": PROJECT}],
        "images": [
            {
                "name": IMAGE,
                "file": str(file),
                "sha256": hashlib.sha256(CONTENT).hexdigest(),
                "format": "raw",
                "properties": {"os_distro": "debian"},
            }
        ],
    }


def steps_of(steps: dict[str, str]) -> set[tuple[str, str]]:
    """The names of the resources with what was done to them, without components."""
    return {
        (label.rpartition(" ")[2], step) for label, step in steps.items() if not label.startswith("jarvis:")
    }


@pytest.fixture(scope="module")
def declared(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of an image that is declared, with the rest of ``objects_of``. At the end nothing is."""
    file = tmp_path_factory.mktemp("declared") / "disk.raw"
    file.write_bytes(CONTENT)
    cloud.stack.configure(cloud.stack.changed(openstack={"objects": objects_of(file)}))
    yield file
    cloud.stack.configure(cloud.stack.environment)


def test_what_is_there_and_differs_ends_the_preview(cloud: Cloud, declared: Path) -> None:
    openstack = partial(cloud.tool, *OPENSTACK)
    openstack("group", "create", GROUP)
    openstack("project", "create", "--description", "by hand", PROJECT)
    try:
        preview = cloud.stack.attempt("preview")
        assert preview.status != 0
        [error] = [one for one in preview.errors() if f"project/{PROJECT}" in one]
        assert 'description is "by hand", not "declared"' in error
        assert "nothing has been changed" in error
    finally:
        openstack("project", "delete", PROJECT)


def test_objects_are_made_or_taken_over(cloud: Cloud, declared: Path) -> None:
    group = cloud.shown("group", "show", GROUP)["id"]
    preview = cloud.stack.run("preview").steps()
    assert {step for _, step in steps_of(preview)} == {"create"}
    assert {name for name, _ in steps_of(preview)} >= KEYS
    up = cloud.stack.up()
    assert up.steps() == preview
    assert f"group/{GROUP}: adopted" in up.output
    assert f"project/{PROJECT}: made" in up.output
    # The file is on the operator's machine, and is not needed any more.
    kept = declared.rename(declared.with_name("elsewhere"))
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
    kept.rename(declared)

    assert cloud.shown("group", "show", GROUP)["id"] == group
    [assigned] = cloud.shown("role", "assignment", "list", "--names", "--group", GROUP)
    assert (assigned["Role"], assigned["Project"]) == ("member", f"{PROJECT}@Default")
    image = cloud.shown("image", "show", IMAGE)
    assert (image["status"], image["disk_format"], image["size"]) == ("active", "raw", len(CONTENT))
    saved = declared.with_name("saved")
    cloud.tool(*OPENSTACK, "image", "save", "--file", str(saved), IMAGE)
    assert saved.read_bytes() == CONTENT
    staged = cloud.ssh(cloud.servers[0], "ls /var/lib/jarvis/staging").split()
    assert [name for name in staged if name.startswith("image-")] == []


def test_what_somebody_changed_is_put_right(cloud: Cloud, declared: Path) -> None:
    openstack = partial(cloud.tool, *OPENSTACK)
    openstack("project", "set", "--description", "somebody's", PROJECT)
    openstack("image", "set", "--community", "--property", "os_distro=other", IMAGE)
    openstack("role", "remove", "--group", GROUP, "--project", PROJECT, "member")
    preview = cloud.stack.run("preview", "--diff")
    assert steps_of(preview.steps()) == {
        (key, "update") for key in (f"project/{PROJECT}", f"image/{IMAGE}", ASSIGNMENT)
    }
    assert f'OpenStack: project/{PROJECT}: description is "somebody\'s", not "declared"' in preview.output
    assert cloud.stack.up().steps() == preview.steps()
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
    assert cloud.shown("project", "show", PROJECT)["description"] == "declared"
    image = cloud.shown("image", "show", IMAGE)
    assert (image["visibility"], image["properties"]["os_distro"]) == ("public", "debian")
    assert len(cloud.shown("role", "assignment", "list", "--group", GROUP)) == 1


def test_what_is_taken_out_is_removed(cloud: Cloud, declared: Path) -> None:
    cloud.stack.configure(cloud.stack.environment)
    preview = cloud.stack.run("preview").steps()
    assert {step for _, step in steps_of(preview)} == {"delete"}
    assert cloud.stack.up().steps() == preview
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
    for kind, name in (("project", PROJECT), ("group", GROUP), ("image", IMAGE)):
        assert name not in {one["Name"] for one in cloud.shown(kind, "list")}
    assert cloud.ssh(cloud.servers[0], "cat /var/lib/jarvis/openstack/administrator.json || true") == ""
