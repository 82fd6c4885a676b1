"""The host release: every binary of a server in one squashfs image, named by its digest.

systemd-sysext merges it over ``/usr``. Equal binaries give an equal image, byte by byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from images.errors import ImageError
from images.squashfs import FLAGS, pack_folder
from toolchain.errors import ToolchainError
from toolchain.model import Tool
from toolchain.store import Resolved, Store, locked, sha256

# Changed when the layout or the way of packing changes.
_FORMAT = 1
_EXTENSION = "usr/lib/extension-release.d/extension-release.jarvis"
# Programs go to usr/bin, except those that containerd looks for in a folder of their own.
_FOLDERS = {"cni": "usr/lib/cni"}


def server_tools(tools: Mapping[str, Tool]) -> list[Tool]:
    """The tools that travel to servers."""
    return [tool for tool in tools.values() if tool.use in ("servers", "both")]


def build_release(
    store: Store, tools: Mapping[str, Tool], found: Mapping[str, Resolved]
) -> dict[str, object]:
    """Packs the release, or finds it in the cache. Returns its path, sha256, size in bytes and versions.

    Raises ``ToolchainError`` when mksquashfs is missing or fails.
    """
    chosen = server_tools(tools)
    places: dict[str, Path] = {}
    for tool in chosen:
        for name, file in store.files(tool).items():
            places[f"{_FOLDERS.get(tool.name, 'usr/bin')}/{name}"] = file
    sums = {
        f"{tool.name}/{name}": digest for tool in chosen for name, digest in found[tool.name].sha256.items()
    }
    recipe = hashlib.sha256(json.dumps([_FORMAT, FLAGS, sums], sort_keys=True).encode()).hexdigest()[:16]
    folder = store.root / "release"
    record = folder / f"{recipe}.json"
    with locked(folder / f"{recipe}.lock"):
        digest = _recorded(record, folder)
        if digest is None:
            digest = _pack(places, folder, recipe)
            part = record.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps({"sha256": digest}) + "\n", encoding="utf-8")
            part.replace(record)
    image = folder / f"{digest}.raw"
    versions = {tool.name: tool.version for tool in chosen}
    return {"path": str(image), "sha256": digest, "size": image.stat().st_size, "versions": versions}


def _recorded(record: Path, folder: Path) -> str | None:
    try:
        digest = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    image = folder / f"{digest}.raw"
    return digest if image.is_file() and sha256(image) == digest else None


def _pack(places: Mapping[str, Path], folder: Path, recipe: str) -> str:
    stage = folder / f"{recipe}.tmp"
    shutil.rmtree(stage, ignore_errors=True)
    tree, image = stage / "tree", stage / "image"
    try:
        for place, file in places.items():
            target = tree / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755)
        extension = tree / _EXTENSION
        extension.parent.mkdir(parents=True)
        extension.write_text("ID=_any\n", encoding="utf-8")
        extension.chmod(0o644)
        for each in (tree, *(one for one in tree.rglob("*") if one.is_dir())):
            each.chmod(0o755)
        try:
            pack_folder(tree, image)
        except ImageError as error:
            raise ToolchainError(str(error)) from None
        digest = sha256(image)
        image.chmod(0o644)
        image.replace(folder / f"{digest}.raw")
        return digest
    finally:
        shutil.rmtree(stage, ignore_errors=True)
