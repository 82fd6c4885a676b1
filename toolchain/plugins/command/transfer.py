"""Copy a file or a tree of files to a server, over a shared SSH connection.

A file arrives under a temporary name, is measured, and takes its place by a rename: an interrupted copy
leaves the old file whole. Where things land is as with the official plugin:

| source            | remote path is a folder | is not there  | is a file   |
|-------------------|-------------------------|---------------|-------------|
| file              | path/file               | path          | overwritten |
| text              | error                   | path          | overwritten |
| folder            | path/folder             | path/folder   | error       |
| folder/           | path/...                | path/...      | error       |
| archive of assets | path/...                | path/...      | error       |
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from toolchain.plugins.command.connection import Connection
from toolchain.plugins.command.mux import memory_file
from toolchain.plugins.command.output import Logging
from toolchain.plugins.command.pool import Pool
from toolchain.plugins.command.remote import quote, run
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.common.values import Archive, Asset, Value

_SCRIPTS = Path(__file__).parent / "scripts"
# What a copied file or folder is made as before the server's umask, like the official plugin's sftp does.
_FILE_MODE, _FOLDER_MODE = 0o666, 0o777


def copy(
    pool: Pool, connection: Connection, source: Asset | Archive, remote_path: str, op: Operation
) -> None:
    """Copy `source` to `remote_path` on the server (relative: to the login's home).

    Raises:
        ProviderError: the source cannot be read, or the server cannot take it.
        Cancelled: the engine cancelled.
    """
    with ExitStack() as files:
        if isinstance(source, Asset):
            if source.text is not None:
                content = source.text.encode()
                descriptor = memory_file("asset", content)
                files.callback(os.close, descriptor)
                arguments = ["file.sh", remote_path, str(len(content)), ""]
            else:
                descriptor, arguments = _file(source.path, remote_path, files)
        elif source.path is not None and not os.path.isdir(source.path):
            descriptor, arguments = _file(source.path, remote_path, files)
        else:
            name = ""
            if source.path is not None and not source.path.endswith("/"):
                name = os.path.basename(source.path)
            descriptor = _pack(source, files)
            arguments = ["tree.sh", remote_path, name]
        script = (_SCRIPTS / arguments[0]).read_text()
        words = " ".join(quote(word) for word in ["sh", "-c", script, "copy", *arguments[1:]])
        try:
            run(pool, connection, words, op, stdin=descriptor, logging=Logging(False, False))
        except Cancelled as error:
            raise Cancelled(f"cancelled while copying to {connection.label}:{remote_path}") from error
        except ProviderError as error:
            text = str(error)
            if 'running "sh -c ' not in text:
                raise
            # The script is ours and long: what it said is what helps.
            said = text.split(":\n", 1)[-1].strip()
            raise ProviderError(f"cannot copy to {connection.label}:{remote_path}: {said}") from error


def _file(path: str | None, remote_path: str, files: ExitStack) -> tuple[int, list[str]]:
    if path is None:
        raise ProviderError("source: the asset has no content here (it is known by its hash only)")
    try:
        # ssh reads it itself, by the descriptor.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        files.callback(os.close, descriptor)
        size = os.fstat(descriptor).st_size
    except OSError as error:
        raise ProviderError(f"source: cannot read {path}: {error.strerror}") from error
    return descriptor, ["file.sh", remote_path, str(size), os.path.basename(path)]


def _pack(source: Archive, files: ExitStack) -> int:
    """A tar stream of the archive in an unnamed temporary file; its descriptor, at the start."""
    packed = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        folders: set[str] = set()
        for name, content in _members(source, PurePosixPath()):
            for parent in reversed(PurePosixPath(name).parents[:-1]):
                _add_folder(tar, str(parent), folders)
            if content is None:
                _add_folder(tar, name, folders)
            elif isinstance(content, Path):
                with content.open("rb") as file:
                    tar.addfile(_entry(name, os.fstat(file.fileno()).st_size), file)
            else:
                tar.addfile(_entry(name, len(content)), io.BytesIO(content))
    packed.flush()
    packed.seek(0)
    return packed.fileno()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, _FILE_MODE
    return entry


def _add_folder(tar: tarfile.TarFile, name: str, done: set[str]) -> None:
    if name not in done:
        done.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, _FOLDER_MODE
        tar.addfile(entry)


def _members(value: Value, at: PurePosixPath) -> Iterator[tuple[str, Path | bytes | None]]:
    """Every file of an archive: relative name and content (a local file, bytes; None for a folder)."""
    where = str(at) or "."
    if isinstance(value, Asset) and value.text is not None:
        yield where, value.text.encode()
    elif isinstance(value, Asset) and value.path is not None:
        if not os.path.isfile(value.path):
            raise ProviderError(f"source[{where}]: cannot read {value.path}")
        yield where, Path(value.path)
    elif isinstance(value, Archive) and value.assets is not None:
        for name, item in value.assets.items():
            inner = at / name
            if inner.is_absolute() or ".." in inner.parts:
                raise ProviderError(f"source[{name}]: leads out of the remote path")
            yield from _members(item, inner)
    elif isinstance(value, Archive) and value.path is not None and os.path.isdir(value.path):
        for folder, folders, names in os.walk(value.path, followlinks=False):
            folders.sort()
            inner = at / Path(folder).relative_to(value.path).as_posix()
            if str(inner) != ".":
                yield str(inner), None
            for name in sorted(names):
                yield str(inner / name), Path(folder) / name
    elif isinstance(value, Mapping):
        raise ProviderError(f"source[{where}]: must be an asset or an archive")
    else:
        raise ProviderError(f"source[{where}]: only files, folders and texts can be copied")
