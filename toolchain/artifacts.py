"""What is built on the operator's machine for the servers, and the list of it that the program reads."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import images
from images.recipe import digest
from toolchain.errors import SourceError, ToolchainError
from toolchain.mirror import Mirror
from toolchain.model import Tool
from toolchain.release import build_release
from toolchain.settings import settings_list
from toolchain.store import Resolved, Store, locked

Progress = Callable[[str], None]


def build_artifacts(
    store: Store,
    tools: Mapping[str, Tool],
    found: Mapping[str, Resolved],
    files: Mapping[str, Path],
    mirror: Mirror | None,
    progress: Progress,
) -> dict[str, Any]:
    """Builds the host release and the images, or finds them in the cache or, images, in the mirror.

    ``found``: how each tool was obtained; ``files``: each program by name. Returns the list as
    ``jarvis.config.artifacts`` reads it. Raises ``ToolchainError`` naming what failed.
    """
    started = time.monotonic()
    release = build_release(store, tools, found)
    release["settings"] = str(settings_list(store.root / "release", str(release["sha256"]), files))
    size = int(str(release["size"])) / 1e6
    progress(f"host release: {size:.0f} MB, {time.monotonic() - started:.1f} s")
    started = time.monotonic()
    try:
        if mirror is not None:
            _images_of(mirror, store, files, progress)
        built = images.build(store.root, files, progress=progress)
    except images.ImageError as error:
        raise ToolchainError(str(error)) from None
    progress(f"images: {', '.join(sorted(built))}, {time.monotonic() - started:.1f} s")
    return {"release": release, "images": dict(built)}


def write_list(document: Mapping[str, Any], file: Path) -> None:
    """Writes the list of artifacts; an equal one is left as it is."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def image_name(name: str, recipe: str) -> str:
    """The name of an image's archive in a mirror."""
    return f"images/{name}-{recipe}.tar.gz"


def _images_of(mirror: Mirror, store: Store, files: Mapping[str, Path], progress: Progress) -> None:
    """Puts the images that the mirror has where a build would put them; the others are built."""
    recipes = images.load_recipes()
    for name, recipe in recipes.items():
        if not recipe.published:
            continue
        key = digest(recipe, recipes, files)
        target = store.root / "images" / key
        with locked(target.with_name(f"{key}.lock")):
            if target.exists():
                continue
            part = target.with_name(f".{name}.{os.getpid()}.mirror")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                mirror.unpack(image_name(name, key), part)
                part.rename(target)
                progress(f"image {name}: mirror {mirror.address}")
            except SourceError as error:
                progress(f"image {name}: {error}")
            finally:
                shutil.rmtree(part, ignore_errors=True)
