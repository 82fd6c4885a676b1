"""What several recipes share, said once: parts, ``images/openstack/<part>.toml``, that a recipe names.

A part is a recipe itself, but for its name. Its texts have placeholders: ``{name}`` is the folder of the
recipe, all others are told by the recipe::

    [parts.service]
    application = "keystone.wsgi.api:application"
    port = 5000
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images.errors import ImageError

# Where parts lie, and the modules of our own that several images have, beside the constraints of all their
# requirements.
SHARED = "openstack"
# Files of an image, each at its path below this folder of the recipe: what is too long for recipe.toml.
ROOT = "root"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def read_merged(file: Path) -> dict[str, Any]:
    """The recipe ``file``, not validated, merged with the parts that it names and the files beside it.

    Raises ``ImageError`` for a part that is not there, or is told too little or too much, and for a file
    that the recipe has twice.
    """
    image = file.parent.name
    own = _read(image, file)
    named = own.pop("parts", {})
    if not isinstance(named, dict) or not all(isinstance(told, dict) for told in named.values()):
        raise ImageError(f"image {image}: {file} is not a recipe: each of its parts is a table [parts.NAME]")
    merged: dict[str, Any] = {}
    for part, told in named.items():
        merged = merge(merged, _part(image, file.parents[1] / SHARED / f"{part}.toml", told))
    merged = merge(merged, own)
    for path, text in _files(file.parent / ROOT).items():
        if path in merged.setdefault("files", {}):
            raise ImageError(f"image {image}: {path} is in its recipe and in its folder {ROOT}")
        merged["files"][path] = text
    return merged


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with what ``above`` says: lists go on, tables are merged, all else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        former = merged.get(key)
        if isinstance(former, list) and isinstance(value, list):
            merged[key] = [*former, *(each for each in value if each not in former)]
        elif isinstance(former, dict) and isinstance(value, dict):
            merged[key] = merge(former, value)
        else:
            merged[key] = value
    return merged


def _part(image: str, file: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    if not file.is_file():
        there = ", ".join(sorted(each.stem for each in file.parent.glob("*.toml")))
        raise ImageError(f"image {image}: there is no part {file.stem}; there are: {there or 'none'}")
    values = {"name": image, **told}
    used: set[str] = set()

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda match: fill(match[1]), value)
        if isinstance(value, list):
            return [filled(each) for each in value]
        if isinstance(value, dict):
            return {filled(key): filled(each) for key, each in value.items()}
        return value

    def fill(placeholder: str) -> str:
        if placeholder not in values:
            raise ImageError(f"image {image}: [parts.{file.stem}] does not say its {placeholder}")
        used.add(placeholder)
        return str(values[placeholder])

    part: dict[str, Any] = filled(_read(image, file))
    if unknown := sorted(told.keys() - used):
        raise ImageError(f"image {image}: [parts.{file.stem}] does not heed {', '.join(unknown)}")
    return part


def _read(image: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ImageError(f"image {image}: {file} is not a recipe: {error}") from None


def _files(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}
