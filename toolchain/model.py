"""The lock of tools, ``toolchain/lock.toml``, as typed values, and the digest of each tool's recipe."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolchain.errors import ToolchainError

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
LOCK = HERE / "lock.toml"

Source = Literal["path", "mirror", "official", "wheel", "go"]
# Who runs a tool: the operator, the servers, both; a part of an image; or only the building of other tools.
Use = Literal["operator", "servers", "both", "images", "build"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OnPath(_Strict):
    """A tool on PATH: ``minimum`` accepts newer versions too; ``in_place`` uses it without a copy."""

    minimum: str | None = None
    in_place: bool = False


class Official(_Strict):
    """A download of the publisher: the plain ``file``, or an archive with the ``members`` file -> member."""

    url: str
    sums: str
    file: str | None = None
    members: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.file is None) == (not self.members):
            raise ValueError("give either file or members")
        return self


class Wheel(_Strict):
    """A PyPI wheel: the ``members`` file -> member of the archive, or the whole folder ``tree`` of it."""

    package: str
    sha256: Sha256
    members: dict[str, str] = {}
    tree: str | None = None


class GoBuild(_Strict):
    """One Go recipe folder: ``packages`` file -> package; ``copies`` file -> ``module:path inside it``."""

    folder: str
    packages: dict[str, str]
    copies: dict[str, str] = {}
    cgo: bool = False
    tags: list[str] = []
    ldflags: list[str] = []


class Tool(_Strict):
    """One tool: files of one version that come together. ``root`` holds the folders of its Go recipes."""

    name: str
    version: str
    use: Use
    files: list[str]
    sources: list[Source]
    probe: dict[str, list[str]]
    minutes: float = 0.5
    path: OnPath = OnPath()
    official: list[Official] = []
    wheel: Wheel | None = None
    go: list[GoBuild] = []
    root: Path = HERE / "go"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Each source that is named must be described, and give every file."""
        files = set(self.files)
        if not files >= self.probe.keys() or not self.probe:
            raise ValueError("probe must name files of the tool")
        if "official" in self.sources:
            given = {f for o in self.official for f in ([o.file] if o.file else o.members)}
            if given != files:
                raise ValueError(f"official gives {sorted(given)} instead of {sorted(files)}")
        if "go" in self.sources and {f for g in self.go for f in (*g.packages, *g.copies)} != files:
            raise ValueError("go does not give every file")
        if "wheel" in self.sources and (
            self.wheel is None or (self.wheel.tree is None and self.wheel.members.keys() != files)
        ):
            raise ValueError("wheel does not give every file")
        return self

    def fill(self, text: str) -> str:
        """``text`` with the tool's version in it."""
        return text.replace("{version}", self.version)

    @property
    def digest(self) -> str:
        """The digest of what the tool is: its version, its files and its Go recipes, 16 hexadecimal digits.

        Where a tool may be fetched from is no part of it: a new address of the same release is the same tool.
        """
        recipe: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "files": sorted(self.files),
            "go": [build.model_dump() for build in self.go],
            "wheel": self.wheel.sha256 if self.wheel else None,
            "folders": {build.folder: _folder_digest(self.root / build.folder) for build in self.go},
        }
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def load_lock(file: Path = LOCK, root: Path | None = None) -> dict[str, Tool]:
    """The tools of the lock ``file`` by name. ``root``: where its Go recipes lie (by default beside it).

    Raises ``ToolchainError`` with every mistake of the file.
    """
    root = root or file.parent / "go"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        tables = document["tools"]
        return {name: Tool.model_validate({"name": name, "root": root, **t}) for name, t in tables.items()}
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValidationError) as error:
        raise ToolchainError(f"{file} is not a lock of tools: {error}") from None


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(
            f"{file.relative_to(folder)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
        )
    return digest.hexdigest()
