"""The cache of built tools, shared by all checkouts of a user: ``$XDG_CACHE_HOME/jarvis``.

A tool lies in ``tools/<name>/<digest of its recipe>/`` with its files and ``resolved.json``. A folder that is
there is complete: it is made beside and renamed. A lock file beside it makes two runs at once share the work.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.model import Source, Tool

RECORD = "resolved.json"


class Resolved(BaseModel):
    """How a tool was obtained: ``seconds`` it took, ``sha256`` by file; ``folder`` when used in place."""

    model_config = ConfigDict(frozen=True)
    name: str
    version: str
    source: Source
    detail: str
    seconds: float
    sha256: dict[str, str]
    folder: Path | None = None


def cache_root() -> Path:
    """The cache folder of Jarvis, ``$XDG_CACHE_HOME/jarvis``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jarvis"


def sha256(file: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked(file: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Holds the lock ``file``; calls ``waiting`` once when another has it. A killed holder frees it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class Store:
    """The tools under the cache folder ``root``."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root()

    def folder(self, tool: Tool) -> Path:
        """Where ``tool`` lies, or will lie."""
        return self.root / "tools" / tool.name / tool.digest

    def log(self, tool: Tool) -> Path:
        """The log of the last build of ``tool``."""
        return self.folder(tool).with_suffix(".log")

    def find(self, tool: Tool) -> Resolved | None:
        """What is cached of ``tool``: ``None`` unless every file is there."""
        folder = self.folder(tool)
        try:
            record = Resolved.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None
        base = record.folder or folder
        return record if all(os.access(base / each, os.X_OK) for each in tool.files) else None

    def files(self, tool: Tool) -> dict[str, Path]:
        """Each file of a cached ``tool``. Raises ``KeyError`` when it is not cached."""
        record = self.find(tool)
        if record is None:
            raise KeyError(tool.name)
        return {each: (record.folder or self.folder(tool)) / each for each in tool.files}

    @contextmanager
    def hold(self, tool: Tool, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Holds the lock of ``tool`` and clears what an interrupted run left of it."""
        folder = self.folder(tool)
        with locked(folder.with_suffix(".lock"), waiting):
            for left in folder.parent.glob(f"{folder.name}.tmp-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextmanager
    def fresh(self, tool: Tool) -> Iterator[Path]:
        """An empty folder beside the tool's own, removed at the end unless it was put in place."""
        made = self.folder(tool).with_name(f"{tool.digest}.tmp-{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def put(self, tool: Tool, made: Path, record: Resolved) -> None:
        """Puts the folder ``made`` in the tool's place, in one step, under the lock that ``hold`` has."""
        (made / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        folder = self.folder(tool)
        if folder.exists():  # incomplete, or find() had seen it
            shutil.rmtree(folder)
        made.rename(folder)
