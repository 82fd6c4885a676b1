"""Folders of a process's own sockets."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

# A socket's path, with the suffix that ssh adds while it binds one, must fit a Unix address (108 bytes).
_LONGEST_FOLDER = 60


def socket_folder(prefix: str) -> Path:
    """Make a folder of mode 0700 for this process, below the one for temporary files.

    Those of killed processes of this user go: there is nothing in them but sockets and what was said at them.

    Args:
        prefix: what folders of its kind begin with.
    """
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_FOLDER:
        base = Path("/tmp")
    _sweep(base, prefix)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}-{os.getpid()}-", dir=base))


def _sweep(base: Path, prefix: str) -> None:
    for folder in base.glob(f"{prefix}-*"):
        matched = re.fullmatch(rf"{re.escape(prefix)}-(\d+)-\w+", folder.name)
        if matched is None or Path(f"/proc/{matched.group(1)}").exists():
            continue
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if folder.is_dir() and not folder.is_symlink() and status.st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)
