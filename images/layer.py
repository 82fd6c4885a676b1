"""A layer of an image: a tree of files that gives the same bytes wherever and whenever it is packed."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# 1980-01-01, the earliest time that every archive format can hold.
EPOCH = 315532800
# The root of a Debian system with /usr merged: these are symbolic links into /usr.
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
GZIP_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One member of a layer. ``content`` is the bytes, or the file that holds them; ``link`` the target."""

    kind: bytes = tarfile.REGTYPE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: bytes | Path = b""
    link: str = ""


class Tree:
    """The members of a layer by path (relative, without a leading slash), each parent directory included."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def add(self, path: str, entry: Entry) -> None:
        """Adds a member, and what directories it lies in; a later member of the same path replaces it."""
        path = normal(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self.entries:
            self.entries[parent] = Entry(kind=tarfile.DIRTYPE, mode=0o755)
            parent = parent.rpartition("/")[0]
        self.entries[path] = entry

    def directory(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """An empty directory."""
        self.add(path, Entry(kind=tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid))

    def text(self, path: str, content: str, *, mode: int = 0o644) -> None:
        """A file of the given text."""
        self.add(path, Entry(mode=mode, content=content.encode()))

    def file(self, path: str, source: Path, *, mode: int | None = None) -> None:
        """A file whose content is that of ``source``; executable where that is, unless ``mode`` says."""
        executable = source.stat().st_mode & stat.S_IXUSR
        self.add(path, Entry(mode=mode or (0o755 if executable else 0o644), content=source))

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.add(path, Entry(kind=tarfile.SYMTYPE, mode=0o777, link=target))

    def folder(self, path: str, source: Path, drop: Iterable[str] = ()) -> None:
        """All below the folder ``source``, except what a glob of ``drop`` (relative to it) names."""
        patterns = list(drop)
        for root, folders, files in os.walk(source):
            relative = os.path.relpath(root, source)
            prefix = "" if relative == "." else f"{relative}/"
            folders[:] = sorted(f for f in folders if not matches(f"{prefix}{f}", patterns))
            for name in sorted(files):
                file = Path(root, name)
                if matches(f"{prefix}{name}", patterns):
                    continue
                if file.is_symlink():
                    self.link(f"{path}/{prefix}{name}", os.readlink(file))
                else:
                    self.file(f"{path}/{prefix}{name}", file)

    def merged_usr(self) -> None:
        """The links of a root whose /usr is merged, which Debian's packages expect."""
        for name in _MERGED:
            self.link(name, f"usr/{name}")

    def write(self, stream: IO[bytes]) -> None:
        """Writes the tree as a tar archive, sorted, without times or names of users."""
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(self.entries):
                entry = self.entries[path]
                member = tarfile.TarInfo(path)
                member.type, member.mode = entry.kind, entry.mode
                member.uid, member.gid = entry.uid, entry.gid
                member.mtime = EPOCH
                member.linkname = entry.link
                if entry.kind != tarfile.REGTYPE:
                    archive.addfile(member)
                elif isinstance(entry.content, bytes):
                    member.size = len(entry.content)
                    archive.addfile(member, io.BytesIO(entry.content))
                else:
                    member.size = entry.content.stat().st_size
                    with entry.content.open("rb") as source:
                        archive.addfile(member, source)


def normal(path: str) -> str:
    """A path of a layer without ``./`` or slashes around it, and below /usr where the root's is a link."""
    path = path.removeprefix("./").strip("/")
    head, _, rest = path.partition("/")
    return f"usr/{path}" if head in _MERGED and rest else path


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a glob of ``patterns`` names ``path``; ``*`` matches across slashes."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A layer as a blob of ``size`` bytes: ``digest`` of them, ``diff_id`` of the archive within."""

    digest: str
    diff_id: str
    size: int


def pack(tree: Tree, blobs: Path) -> Packed:
    """Writes ``tree`` as a gzip-compressed layer into the folder ``blobs``, named by its sha256."""
    temporary = blobs / ".layer"
    with temporary.open("wb") as file:
        compressed = _Hashing(file)
        # No file name and no time in the header: they would change the digest.
        with gzip.GzipFile("", "wb", GZIP_LEVEL, compressed, mtime=0) as zipped:
            plain = _Hashing(zipped)
            tree.write(plain)  # type: ignore[arg-type]
    temporary.replace(blobs / compressed.hash.hexdigest())
    return Packed(
        digest=f"sha256:{compressed.hash.hexdigest()}",
        diff_id=f"sha256:{plain.hash.hexdigest()}",
        size=compressed.size,
    )


class _Hashing:
    """A stream that hashes what passes through it."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.stream = stream
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        self.stream.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self.stream.flush()
