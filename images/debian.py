"""Debian packages as the content of a layer: resolved into a lock, fetched by apt, extracted by us.

A package's own scripts are not run: no shell, no root and no package manager is needed, neither here nor
in the image. What such a script would have made (users, byte code) the recipe names.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from images.errors import ImageError
from images.layer import Entry, Tree, matches, normal
from images.recipe import file_digest

_ARCHIVE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITES = (
    ("http://deb.debian.org/debian", "bookworm"),
    ("http://deb.debian.org/debian", "bookworm-updates"),
    ("http://deb.debian.org/debian-security", "bookworm-security"),
)
# Left out of every image. Copyright files stay: the licences ask for them.
_DROP = (
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/lintian/*",
    "usr/share/bug/*",
    "usr/share/bash-completion/*",
    "usr/share/menu/*",
    "usr/share/pixmaps/*",
    "usr/share/applications/*",
)
_KEEP = ("usr/share/doc/*/copyright",)
_APT_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class Package:
    """A line of ``packages.lock``."""

    name: str
    version: str
    sha256: str


def read_lock(text: str) -> tuple[str, list[Package]]:
    """The time at which a lock was made (``YYYYMMDDTHHMMSSZ``), and its packages.

    Raises ``ValueError`` for a line of another form.
    """
    made = ""
    packages = []
    for line in text.splitlines():
        if match := re.fullmatch(r"# made (\d{8}T\d{6}Z)", line):
            made = match[1]
        elif line and not line.startswith("#"):
            name, version, sha256 = line.split(" ")
            packages.append(Package(name=name, version=version, sha256=sha256))
    return made, packages


def write_lock(made: str, packages: Sequence[Package]) -> str:
    """The text of a lock; ``read_lock`` reads it."""
    lines = [f"{p.name} {p.version} {p.sha256}\n" for p in sorted(packages, key=lambda p: p.name)]
    return f"# Debian 12 (amd64) packages; made by: python -m images lock\n# made {made}\n" + "".join(lines)


class Apt:
    """apt with a state of its own in ``folder``: an empty system, with Debian's own archive as its source.

    ``at`` is a time (``YYYYMMDDTHHMMSSZ``) for which Debian's snapshot archive is asked instead.
    """

    def __init__(self, folder: Path, at: str | None = None) -> None:
        self.folder = folder / (at or "now")
        for each in ("lists/partial", "cache/archives/partial"):
            (self.folder / each).mkdir(parents=True, exist_ok=True)
        sources = self.folder / "sources.list"
        lines = []
        for uri, suite in _SUITES:
            options = f"arch=amd64 signed-by={_ARCHIVE_KEYRING}"
            if at is not None:
                options += " check-valid-until=no"
                uri = f"http://snapshot.debian.org/archive/{uri.rpartition('/')[2]}/{at}"
            lines.append(f"deb [{options}] {uri} {suite} main\n")
        sources.write_text("".join(lines), encoding="utf-8")
        self.options = [
            f"-oDir::Etc::SourceList={sources}",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={self.folder}/lists",
            "-oDir::State::Status=/dev/null",
            f"-oDir::Cache={self.folder}/cache",
            "-oAPT::Architecture=amd64",
            "-oAPT::Architectures=amd64",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::http::Timeout=20",
            "-oAcquire::Retries=1",
            "-oAcquire::Languages=none",
        ]

    def run(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        """The output of ``apt-get`` or ``apt-cache``. Raises ``ImageError`` with its last lines."""
        return _run([tool, *self.options, *words], cwd=cwd)

    def update(self) -> None:
        """Fetches the lists of packages. Raises ``ImageError`` where one cannot be had."""
        self.run("apt-get", "-q", "-oAPT::Update::Error-Mode=any", "update")


def resolve(apt: Apt, packages: Sequence[str], without: Iterable[str]) -> list[Package]:
    """``packages`` and all that they depend on, at the versions that Debian has now.

    ``without`` names dependencies that are left out, with what only they depend on.
    Raises ``ImageError`` when a package is not found.
    """
    plan = apt.run("apt-get", "-s", "--no-install-recommends", "install", *packages)
    versions = dict(re.findall(r"^Inst (\S+) \((\S+) ", plan, flags=re.MULTILINE))
    shown = apt.run("apt-cache", "show", *(f"{name}={version}" for name, version in versions.items()))
    stanzas: dict[str, dict[str, str]] = {}
    for stanza in shown.strip().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, flags=re.MULTILINE))
        stanzas.setdefault(fields["Package"], fields)
    providers = {
        virtual.split(" ")[0]: name
        for name, fields in stanzas.items()
        for virtual in re.split(r",\s*", fields.get("Provides", ""))
        if virtual
    }
    wanted: set[str] = set()
    left_out = set(without)
    queue = list(packages)
    while queue:
        name = queue.pop()
        name = name if name in stanzas else providers.get(name, name)
        if name in wanted or name in left_out or name not in stanzas:
            continue
        wanted.add(name)
        for field in ("Pre-Depends", "Depends"):
            names = re.split(r"[,|]\s*", stanzas[name].get(field, ""))
            queue += [n.strip().split(" ")[0].split(":")[0] for n in names if n.strip()]
    return [Package(name=n, version=versions[n], sha256=stanzas[n]["SHA256"]) for n in wanted]


def fetch(image: str, made: str, packages: Sequence[Package], cache: Path) -> list[Path]:
    """The ``.deb`` files of a lock, each checked against its sum and kept in ``cache``.

    They are asked of the machine's own apt sources, then of Debian's archive, then of its snapshot
    archive at the time ``made`` of the lock.

    Raises ``ImageError`` naming the packages that none of these has.
    """
    downloads = cache / "downloads" / "debian"
    downloads.mkdir(parents=True, exist_ok=True)
    kept = {p.sha256: downloads / f"{p.sha256}.deb" for p in packages}
    problems: list[str] = []
    for source in ("machine", "debian", "snapshot"):
        missing = [p for p in packages if not kept[p.sha256].is_file()]
        if not missing:
            break
        try:
            _download(source, made, missing, cache, downloads)
        except ImageError as error:
            problems.append(f"{source}: {error}")
    missing = [p for p in packages if not kept[p.sha256].is_file()]
    if missing:
        names = ", ".join(f"{p.name}={p.version}" for p in missing)
        raise ImageError(
            f"image {image}: no source has these Debian packages of its lock: {names}\n"
            + "\n".join(problems)
            + f"\nfor the versions of today type: python -m images lock {image}"
        )
    return [kept[p.sha256] for p in packages]


def _download(source: str, made: str, packages: Sequence[Package], cache: Path, downloads: Path) -> None:
    words = [f"{p.name}={p.version}" for p in packages]
    folder = cache / "apt" / f"download-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # One package that a source lacks must not keep the others back: the error is raised at the end.
        problem: ImageError | None = None
        try:
            if source == "machine":
                _run(["apt-get", "-q", "-oAPT::Sandbox::User=root", "download", *words], cwd=folder)
            else:
                apt = Apt(cache / "apt", made if source == "snapshot" else None)
                apt.update()
                apt.run("apt-get", "-q", "download", *words, cwd=folder)
        except ImageError as error:
            problem = error
        sums = {p.sha256 for p in packages}
        for file in folder.glob("*.deb"):
            digest = file_digest(file)
            if digest in sums:
                file.replace(downloads / f"{digest}.deb")
            else:
                problem = ImageError(
                    f"{unquote(file.name)} has sha256 {digest}, which is not that of the lock"
                )
        if problem is not None:
            raise problem
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def extract(tree: Tree, deb: Path, drop: Sequence[str] = ()) -> None:
    """Adds the files of a package to ``tree``, but for documentation and what a glob of ``drop`` names.

    Programs lose set-user-id bits: nothing in an image may gain rights. The package's control file is kept
    in ``var/lib/dpkg/status.d``, where scanners for vulnerabilities look.

    Raises ``ImageError`` for a file that is not a package.
    """
    control = _run(["dpkg-deb", "--field", str(deb)])
    name = re.search(r"^Package: (\S+)$", control, flags=re.MULTILINE)
    tree.text(f"var/lib/dpkg/status.d/{name[1] if name else deb.stem}", control)
    process = subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        for member in archive:
            path = normal(member.name)
            if not path or path == "." or _dropped(path, drop):
                continue
            if member.isdir():
                if path not in tree:
                    tree.add(path, Entry(kind=tarfile.DIRTYPE, mode=0o755))
                continue
            data = archive.extractfile(member) if member.isreg() else None
            tree.add(
                path,
                Entry(
                    kind=member.type if not member.isreg() else tarfile.REGTYPE,
                    mode=member.mode & 0o777,
                    content=data.read() if data else b"",
                    link=normal(member.linkname) if member.islnk() else member.linkname,
                ),
            )
    if process.returncode != 0:
        raise ImageError(f"{deb} is not a Debian package; remove it and try again")


def _dropped(path: str, drop: Sequence[str]) -> bool:
    return matches(path, drop) or (matches(path, _DROP) and not matches(path, _KEEP))


def _run(words: Sequence[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=_APT_TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise ImageError(f"{words[0]} is not installed: images are built on a Debian system") from None
    except subprocess.TimeoutExpired:
        raise ImageError(f"{words[0]} did not end within {_APT_TIMEOUT} s") from None
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise ImageError(f"{words[0]} failed: {tail}")
    return done.stdout
