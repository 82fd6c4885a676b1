"""The artifact mirror: a folder of archives with a SHA256SUMS, written on one machine and used by another.

``JARVIS_MIRROR`` names the folder, or an HTTP(S) address that serves it. An archive is a tar of one folder of
the cache, named by kind and recipe, such as ``tools/etcd-3.6.16-<digest>.tar.gz``.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from toolchain.errors import SourceError, ToolchainError
from toolchain.fetch import Fetcher, check, expected_sum
from toolchain.store import sha256

SUMS = "SHA256SUMS"


class Mirror:
    """The mirror at ``address``: a folder, or an ``http://``, ``https://`` or ``file://`` address."""

    def __init__(self, address: str, fetcher: Fetcher | None = None) -> None:
        self.address = address.rstrip("/")
        self._base = self.address if "://" in address else Path(address).resolve().as_uri()
        self._fetcher = fetcher or Fetcher()
        self._guard = threading.Lock()
        self._sums: str | SourceError | None = None

    @staticmethod
    def from_environment(fetcher: Fetcher | None = None) -> Mirror | None:
        """The mirror that ``JARVIS_MIRROR`` names, if it names one."""
        address = os.environ.get("JARVIS_MIRROR", "").strip()
        return Mirror(address, fetcher) if address else None

    def unpack(self, name: str, into: Path) -> None:
        """Unpacks the archive ``name`` into the empty folder ``into``.

        Raises ``SourceError`` when the mirror has it not, or not as its sums say.
        """
        expected = expected_sum(self._read_sums(into), name)
        if expected is None:
            raise SourceError(f"{self.address} has no {name}")
        archive = into / ".archive"
        try:
            self._fetcher.get(f"{self._base}/{name}", archive)
            check(archive, expected, f"{self.address}/{name}")
            with tarfile.open(archive) as tar:
                _extract(tar, into)
        except tarfile.TarError as error:
            raise SourceError(f"{self.address}/{name}: {error}") from None
        finally:
            archive.unlink(missing_ok=True)

    def _read_sums(self, into: Path) -> str:
        with self._guard:
            if self._sums is None:
                file = into / f".{SUMS}"
                try:
                    self._fetcher.get(f"{self._base}/{SUMS}", file)
                    # A lone digest would stand for any name; a list of one line has its name.
                    self._sums = file.read_text(encoding="utf-8") + "\n"
                except SourceError as error:
                    self._sums = error
                finally:
                    file.unlink(missing_ok=True)
            if isinstance(self._sums, SourceError):
                raise self._sums
            return self._sums


def write_mirror(
    folder: Path, trees: Mapping[str, Path], progress: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Writes each of ``trees`` (archive name -> folder or file) to the mirror ``folder``, then its sums.

    Archives that are there already are kept; the sums list every archive of the folder. Equal folders give
    equal archives. Returns the names that were written. Raises ``ToolchainError`` when it cannot be written.
    """
    written = []
    try:
        for name, tree in trees.items():
            target = folder / name
            if target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{os.getpid()}")
            try:
                _pack(tree, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
            written.append(name)
            progress(f"mirror: {name}, {target.stat().st_size / 1e6:.1f} MB")
        files = sorted(f for f in folder.glob("*/*.tar.gz") if not f.name.startswith("."))
        sums = "".join(f"{sha256(file)}  {file.relative_to(folder)}\n" for file in files)
        part = folder / f".{SUMS}.{os.getpid()}"
        part.write_text(sums, encoding="utf-8")
        part.replace(folder / SUMS)
    except OSError as error:
        raise ToolchainError(f"the mirror {folder} cannot be written: {error}") from None
    return written


def _extract(tar: tarfile.TarFile, into: Path) -> None:
    """Extracts files, folders and links that stay inside; Python before 3.11.4 has no filter for that."""
    for entry in tar:
        place = (into / entry.name).resolve()
        inside = place.is_relative_to(into.resolve())
        if entry.issym():
            inside = inside and (place.parent / entry.linkname).resolve().is_relative_to(into.resolve())
        if not inside or not (entry.isreg() or entry.isdir() or entry.issym()):
            raise tarfile.TarError(f"{entry.name} does not belong into a mirror's archive")
        entry.uid, entry.gid, entry.mode = os.getuid(), os.getgid(), entry.mode & 0o755
        tar.extract(entry, into)


def _pack(tree: Path, target: Path) -> None:
    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = "root"
        return entry

    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        if tree.is_file():
            tar.add(tree, tree.name, filter=plain)
        else:
            for each in sorted(tree.rglob("*")):
                tar.add(each, str(each.relative_to(tree)), recursive=False, filter=plain)
