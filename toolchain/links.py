"""The operator's tools of a checkout: links in ``.jarvis/bin``, which comes first on PATH."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def link(folder: Path, targets: Mapping[str, Path]) -> None:
    """Makes ``folder/<name>`` a link to each target; a link that stands already is left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in targets.items():
        place = folder / name
        if place.is_symlink() and os.readlink(place) == str(target):
            continue
        part = folder / f".{name}.{os.getpid()}"
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        part.replace(place)


def write_launcher(file: Path, text: str) -> None:
    """Makes ``file`` an executable with ``text``, unless it is that already."""
    if file.is_file() and not file.is_symlink() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o755)
    part.replace(file)
