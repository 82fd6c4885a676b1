"""The host release: the same bytes from the same binaries, laid out as servers expect."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import script

from toolchain.errors import ToolchainError
from toolchain.model import Tool
from toolchain.release import build_release
from toolchain.store import Resolved, Store, sha256


def stored(store: Store, tool: Tool, name: str, use: str, files: list[str], text: bytes = b"") -> Tool:
    """A tool with ``files`` that lies in the cache."""
    made = tool.model_copy(
        update={
            "name": name,
            "use": use,
            "files": files,
            "probe": {files[0]: ["--version"]},
            "sources": ["path"],
        }
    )
    folder = store.folder(made)
    folder.mkdir(parents=True)
    for each in files:
        (folder / each).write_bytes(script("1.2.3") + text)
        (folder / each).chmod(0o700)
    sums = {each: sha256(folder / each) for each in files}
    record = Resolved(name=name, version="1.2.3", source="path", detail="", seconds=0, sha256=sums)
    (folder / "resolved.json").write_text(record.model_dump_json())
    return made


def release(store: Store, tool: Tool, text: bytes = b"") -> dict[str, object]:
    tools = {
        "etcd": stored(store, tool, "etcd", "both", ["etcd", "etcdctl"], text),
        "cni": stored(store, tool, "cni", "servers", ["bridge"]),
        "pulumi": stored(store, tool, "pulumi", "operator", ["pulumi"]),
    }
    found = {name: store.find(each) for name, each in tools.items()}
    return build_release(store, tools, {name: each for name, each in found.items() if each})


def test_layout_rights_and_extension(store: Store, tool: Tool, tmp_path: Path) -> None:
    made = release(store, tool)
    assert made["versions"] == {"etcd": "1.2.3", "cni": "1.2.3"}
    image = Path(str(made["path"]))
    assert image.name == f"{made['sha256']}.raw"
    assert sha256(image) == made["sha256"]
    assert image.stat().st_size == made["size"]
    listing = subprocess.run(
        ["unsquashfs", "-lln", image], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    entries = {
        line.split()[-1].removeprefix("squashfs-root"): line.split()[:2] for line in listing if "/" in line
    }
    assert (
        entries
        == {
            "": ["drwxr-xr-x", "0/0"],
            **{f"/usr{each}": ["drwxr-xr-x", "0/0"] for each in ("", "/bin", "/lib", "/lib/cni")},
            "/usr/lib/extension-release.d": ["drwxr-xr-x", "0/0"],
            "/usr/bin/etcd": ["-rwxr-xr-x", "0/0"],
            "/usr/bin/etcdctl": ["-rwxr-xr-x", "0/0"],
            "/usr/lib/cni/bridge": ["-rwxr-xr-x", "0/0"],
            "/usr/lib/extension-release.d/extension-release.jarvis": ["-rw-r--r--", "0/0"],
        }
        or "squashfs-root" in entries
    )
    out = tmp_path / "out"
    subprocess.run(["unsquashfs", "-q", "-d", out, image], check=True, stdout=subprocess.DEVNULL)
    assert (out / "usr/lib/extension-release.d/extension-release.jarvis").read_text() == "ID=_any\n"
    assert (out / "usr/bin/etcd").read_bytes() == script("1.2.3")


def test_same_binaries_give_the_same_image(
    store: Store, tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = release(store, tool)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    previous = os.umask(0o077)
    try:
        two = release(Store(tmp_path / "elsewhere"), tool)
    finally:
        os.umask(previous)
    assert one["sha256"] == two["sha256"]


def test_changed_binary_gives_another_image(store: Store, tool: Tool, tmp_path: Path) -> None:
    one = release(store, tool)
    assert one["sha256"] != release(Store(tmp_path / "elsewhere"), tool, b"# changed\n")["sha256"]


def test_corrupt_image_is_made_anew(store: Store, tool: Tool) -> None:
    one = release(store, tool)
    Path(str(one["path"])).write_bytes(b"half")
    shutil.rmtree(store.root / "tools")
    assert release(store, tool) == one
    assert sha256(Path(str(one["path"]))) == one["sha256"]


def test_missing_mksquashfs_says_what_to_type(
    store: Store, tool: Tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="apt-get install squashfs-tools"):
        release(store, tool)
