"""Layers and layouts: the same bytes wherever and whenever they are packed."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from images.layer import EPOCH, Tree, matches, normal, pack
from images.layout import blob_path, blobs_of, read_layers, write_layout
from images.recipe import Runtime


def some_tree(source: Path, order: int = 1) -> Tree:
    tree = Tree()
    steps: list[Callable[[], None]] = [
        lambda: tree.merged_usr(),
        lambda: tree.text("etc/hosts", "127.0.0.1 localhost\n"),
        lambda: tree.file("bin/program", source),
        lambda: tree.directory("var/lib/service", mode=0o700, uid=7, gid=8),
    ]
    for step in steps[::order]:
        step()
    return tree


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_bytes(b"\x7fELF")
    file.chmod(0o700)
    return file


def test_a_layer_has_the_same_digest_whatever_the_order_time_and_owner(tmp_path: Path, program: Path) -> None:
    first = pack(some_tree(program), blobs_of(tmp_path / "a"))
    os.utime(program, (1, 1))
    assert pack(some_tree(program, -1), blobs_of(tmp_path / "b")) == first


def test_a_layer_holds_what_was_put_in(tmp_path: Path, program: Path) -> None:
    blobs = blobs_of(tmp_path)
    packed = pack(some_tree(program), blobs)
    file = blobs / packed.digest.removeprefix("sha256:")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name
    assert file.stat().st_size == packed.size
    with tarfile.open(file) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == sorted(members)
        assert members["usr/bin/program"].mode == 0o755
        assert members["bin"].linkname == "usr/bin"
        assert (members["var/lib/service"].mode, members["var/lib/service"].uid) == (0o700, 7)
        assert members["var/lib"].isdir()
        assert {member.mtime for member in members.values()} == {EPOCH}
        assert {member.uname for member in members.values()} == {""}
        hosts = archive.extractfile("etc/hosts")
        assert hosts is not None
        assert hosts.read() == b"127.0.0.1 localhost\n"


def test_a_folder_leaves_out_what_is_dropped(tmp_path: Path) -> None:
    for name in ("a/tests/test_a.py", "a/code.py", "a/link"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("link"):
            (tmp_path / name).symlink_to("code.py")
        else:
            (tmp_path / name).touch()
    tree = Tree()
    tree.folder("opt", tmp_path, ["*/tests"])
    assert sorted(tree.entries) == ["opt", "opt/a", "opt/a/code.py", "opt/a/link"]
    assert tree.entries["opt/a/link"].link == "code.py"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./lib/x.so", "usr/lib/x.so"),
        ("./usr/lib/x.so", "usr/lib/x.so"),
        ("/sbin/init", "usr/sbin/init"),
        ("./lib", "lib"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
        ("./library/a", "library/a"),
        (".", "."),
    ],
)
def test_paths_below_a_merged_usr(path: str, expected: str) -> None:
    assert normal(path) == expected


def test_globs_cross_slashes() -> None:
    assert matches("usr/share/doc/a/changelog", ["usr/share/doc/*"])
    assert not matches("usr/share/docs", ["usr/share/doc/*"])


def test_a_layout_names_its_parts_by_digest(tmp_path: Path, program: Path) -> None:
    runtime = Runtime(user=42, name="someone", environment={"B": "2", "A": "1"}, command=["x"], ports=[80])
    layers = [pack(some_tree(program), blobs_of(tmp_path))]
    digest = write_layout(tmp_path, "words", "title", runtime, layers)
    assert write_layout(tmp_path, "words", "title", runtime, layers) == digest
    assert read_layers(tmp_path, digest) == layers
    index = json.loads((tmp_path / "index.json").read_text())
    assert [each["digest"] for each in index["manifests"]] == [digest]
    manifest = json.loads(blob_path(tmp_path, digest).read_bytes())
    config = json.loads(blob_path(tmp_path, manifest["config"]["digest"]).read_bytes())
    assert config["config"]["User"] == "42:42"
    assert config["config"]["Env"] == ["A=1", "B=2"]
    assert config["config"]["ExposedPorts"] == {"80/tcp": {}}
