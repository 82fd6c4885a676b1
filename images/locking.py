"""Makes the locks of recipes: the exact Debian packages and Python wheels of an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from images.builder import Progress
from images.debian import Apt, resolve, write_lock
from images.errors import ImageError
from images.parts import SHARED
from images.recipe import (
    PACKAGES_LOCK,
    RECIPES,
    REQUIREMENTS,
    REQUIREMENTS_LOCK,
    Debian,
    Document,
    read_document,
)
from images.wheels import PLATFORM, run_uv

# All services of OpenStack are resolved together, so that each library has one version in all of them.
TOGETHER = SHARED
_WHEELS = ("--only-binary", ":all:")
_HEADER = "python -m images lock"


def lock(
    names: Sequence[str],
    cache: Path,
    progress: Progress = print,
    folder: Path = RECIPES,
    *,
    keep: bool = False,
) -> None:
    """Writes the locks of the recipes ``names`` (by default all) at the versions of today.

    ``keep``: wheels stay at the versions that a lock has, wherever they still fit. So a service is added
    while those that are deployed stay as they are.

    Raises ``ImageError`` for an unknown name or when a resolver finds no solution.
    """
    every = sorted(file.parent.name for file in folder.glob("*/recipe.toml"))
    for name in names:
        if name not in (*every, TOGETHER):
            raise ImageError(f"no image is called {name}; there are: {', '.join(every)}")
    chosen = [name for name in every if not names or name in names]
    if not names or TOGETHER in names:
        # Some services need packages that have no wheel; an image that holds one must say how it is built.
        _compile(folder / TOGETHER, [], keep)
        progress(f"{TOGETHER}: {REQUIREMENTS_LOCK} written")
    apt = Apt(cache / "apt")
    documents = {name: read_document(folder / name / "recipe.toml") for name in chosen}
    if any(document.debian for document in documents.values()):
        apt.update()
    for name, document in documents.items():
        if document.debian is not None:
            _write(folder / name / PACKAGES_LOCK, _debian(apt, document.debian, _below(document, folder)))
            progress(f"{name}: {PACKAGES_LOCK} written")
        if document.python is not None:
            wheels = [] if document.python.source else _WHEELS
            _compile(folder / name, [*wheels, "--constraint", f"{TOGETHER}/{REQUIREMENTS_LOCK}"], keep)
            progress(f"{name}: {REQUIREMENTS_LOCK} written")


def _below(document: Document, folder: Path) -> list[Debian]:
    """What the bases of a recipe have of Debian, however far below."""
    found = []
    while document.base is not None:
        document = read_document(folder / document.base / "recipe.toml")
        if document.debian is not None:
            found.append(document.debian)
    return found


def _debian(apt: Apt, debian: Debian, below: Sequence[Debian]) -> str:
    without = set(debian.without)
    for each in below:
        # What a base has is there.
        without |= {package.name for package in resolve(apt, each.packages, each.without)}
    packages = resolve(apt, debian.packages, without)
    return write_lock(datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"), packages)


def _compile(folder: Path, words: Sequence[str], keep: bool) -> None:
    # uv runs in the folder of recipes, so that no path of this machine is written into the lock.
    before = Path.cwd()
    os.chdir(folder.parent)
    try:
        run_uv(
            *("pip", "compile", "--quiet", "--no-config", "--generate-hashes"),
            *(() if keep else ("--upgrade",)),
            *("--custom-compile-command", _HEADER, *PLATFORM, *words),
            *(f"{folder.name}/{REQUIREMENTS}", "--output-file", f"{folder.name}/{REQUIREMENTS_LOCK}"),
        )
    finally:
        os.chdir(before)


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)
