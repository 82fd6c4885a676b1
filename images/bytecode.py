"""Byte code for a tree of Python files, compiled ahead: the root file system of a container is read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from images.errors import ImageError

VERSION = (3, 11)
TAG = f"cpython-{VERSION[0]}{VERSION[1]}"
WORKERS = 2


def interpreter() -> str:
    """A Python of the images' version on this machine. Raises ``ImageError`` where there is none."""
    if sys.version_info[:2] == VERSION:
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise ImageError("no python3.11 on PATH; install it with: apt-get install python3.11")
    return found


def compile_files(files: Iterable[tuple[Path, str]]) -> None:
    """Compiles each (file, path in the image) to ``__pycache__`` beside the file.

    The byte code is never checked against its source (PEP 552, unchecked hash), so that no times matter.
    Files that are not valid for this version, such as templates, are left without.

    Raises ``ImageError`` when a compiler ends with an error.
    """
    ordered = sorted(files, key=lambda pair: pair[1])
    # Each worker has fixed files in a fixed order, and hashes are not random: what the marshal module
    # writes depends on what was compiled before in the same process.
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [interpreter(), "-P", "-S", str(Path(__file__).with_name("bytecode_worker.py"))]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(WORKERS)
    ]
    for number, worker in enumerate(workers):
        assert worker.stdin is not None
        worker.stdin.write("".join(f"{file}\t{path}\n" for file, path in ordered[number::WORKERS]))
        worker.stdin.close()
    for worker in workers:
        assert worker.stderr is not None
        problem = worker.stderr.read()
        if worker.wait() != 0:
            raise ImageError(f"compiling Python files failed: {problem.strip()[-500:]}")
