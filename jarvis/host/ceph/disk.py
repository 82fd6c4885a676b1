"""Whose a disk is: what BlueStore writes at its beginning. It reads, and changes nothing.

The label begins as `bluestore_bdev_label_t::encode` (src/os/bluestore/bluestore_types.cc) writes it: a line
of text, the osd's UUID in text and a newline, and then the rest in binary.
"""

from __future__ import annotations

import os
from pathlib import Path

_HEAD = b"bluestore block device\n"
_UUID = slice(len(_HEAD), len(_HEAD) + 36)
BLOCK = 4096


def _first(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(BLOCK)


def osd_on(path: Path) -> str:
    """The UUID of the osd that `path` carries; nothing where it carries none, or is not there.

    Raises `OSError` for a disk that cannot be read.
    """
    try:
        first = _first(path)
    except FileNotFoundError:
        return ""
    return first[_UUID].decode("ascii", "replace") if first.startswith(_HEAD) else ""


def blank(path: Path) -> bool:
    """Whether a file has nothing at its beginning yet: one that was begun, and not finished."""
    return path.is_file() and not any(_first(path))


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one disk, by whatever links."""
    return os.path.realpath(one) == os.path.realpath(other)
