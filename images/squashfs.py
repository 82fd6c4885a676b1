"""Packs a squashfs image that systemd-sysext merges; equal files give an equal image, byte by byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from images.errors import ImageError

FLAGS = (
    *("-noappend", "-no-progress", "-all-root", "-no-xattrs", "-no-exports"),
    *("-all-time", "0", "-mkfs-time", "0", "-b", "256K", "-comp", "zstd", "-Xcompression-level", "9"),
)


def pack_folder(folder: Path, image: Path) -> None:
    """Packs all below ``folder``. Raises ``ImageError`` when mksquashfs is missing or fails."""
    _run([str(folder), str(image)], None)


def pack_archive(write: Callable[[IO[bytes]], None], image: Path) -> None:
    """Packs the tar archive that ``write`` writes. Raises ``ImageError`` as above."""
    with tempfile.TemporaryFile(dir=image.parent) as archive:
        write(archive)
        archive.seek(0)
        _run(["-", str(image), "-tar"], archive)


def _run(words: list[str], stdin: IO[bytes] | None) -> None:
    program = shutil.which("mksquashfs")
    if program is None:
        raise ImageError("there is no mksquashfs. Type: apt-get install squashfs-tools")
    # The variable would contradict the times given here, which mksquashfs refuses.
    environment = {key: value for key, value in os.environ.items() if key != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(
        [program, *words, *FLAGS],
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ImageError(f"mksquashfs failed: {said[-1] if said else done.returncode}")
