"""The servers' image: a Debian tree made once by mmdebstrap, and the disk each server begins with.

A server in a box has a tree, and a virtual machine another, with a kernel and what a box has no use for.

Both are kept in the user's cache by the digest of their recipe, shared by all labs of all checkouts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.shell import LabError, run, say, step

RECIPE = Path(__file__).resolve().parent / "image"
RECIPE_VM = Path(__file__).resolve().parent / "image_vm"
BOX, VIRTUAL = "box", "vm"
SUITE = "bookworm"
OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
)
# One inode per 32 KiB: container layers hold many small files, and fewer inodes make a smaller empty disk.
MKFS = ("-q", "-t", "ext4", "-i", "32768", "-m", "1", "-J", "size=64")
MKFS_LAZY = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"


def cache() -> Path:
    """Folder of all images in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "jarvis" / "lab"


def packages(kind: str = BOX) -> list[str]:
    """Debian packages of a server of that kind."""
    files = [RECIPE / "packages.txt", *([RECIPE_VM / "packages.txt"] if kind == VIRTUAL else [])]
    lines = (line.split("#")[0].strip() for file in files for line in file.read_text().splitlines())
    return [line for line in lines if line]


def digest(kind: str = BOX) -> str:
    """Digest of the recipe, 16 hex digits: every file of it with its mode, suite and options.

    That of a virtual machine begins with ``vm-``: a lab's memory needs no field for its kind, which older
    versions of the lab could not read.
    """
    total = hashlib.sha256(repr((SUITE, OPTIONS, MKFS, MKFS_LAZY)).encode())
    for folder in (RECIPE, *([RECIPE_VM] if kind == VIRTUAL else [])):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                executable = bool(path.stat().st_mode & 0o100)
                total.update(f"{path.relative_to(folder)} {executable}\n".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{'vm-' if kind == VIRTUAL else ''}{total.hexdigest()[:16]}"


def kind_of(key: str) -> str:
    """Of which kind servers of the image with that digest are."""
    return VIRTUAL if key.startswith("vm-") else BOX


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file for the time of a block; it ends with the process at the latest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"lab: another lab command is at work ({path}): waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure(kind: str = BOX) -> str:
    """Make the image unless the cache has it; return its digest.

    Raises LabError, naming the log, when Debian cannot be reached or a package is missing.
    """
    key = digest(kind)
    with locked(cache() / f"{key}.lock"):
        if not rootfs(key).is_dir():
            _build(kind, key, cache() / f"{key}.log")
    return key


def rootfs(key: str) -> Path:
    """The tree of the image with that digest; it need not exist."""
    return cache() / key / "rootfs"


def boot(key: str) -> tuple[Path, Path]:
    """The kernel of the image of a virtual machine, and the initial file system that goes with it."""
    folder = rootfs(key) / "boot"
    return max(folder.glob("vmlinuz-*")), max(folder.glob("initrd.img-*"))


def _build(kind: str, key: str, log: Path) -> None:
    folder = cache() / key
    part = cache() / f"{key}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if run(["stat", "-f", "-c", "%T", str(part)]).strip() == "overlayfs":
        raise LabError(
            f"{part} is on an overlayfs, which cannot carry servers: set XDG_CACHE_HOME to another disk"
        )
    mirror = os.environ.get("JARVIS_DEBIAN_MIRROR")
    # In a mount namespace of its own: killed at any point, it leaves nothing mounted.
    argv = ["unshare", "--mount", "--propagation", "slave", "mmdebstrap", *OPTIONS]
    hook = (RECIPE_VM if kind == VIRTUAL else RECIPE) / "customize.sh"
    argv += [f"--include={','.join(packages(kind))}", f"--customize-hook={hook}"]
    argv += [SUITE, str(part / "rootfs"), *([mirror] if mirror else [])]
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(f"building the image of the servers ({len(packages(kind))} Debian packages), log {log}"):
        begin = time.monotonic()
        env = os.environ | {"LAB_IMAGE_FILES": str(RECIPE / "files")}
        try:
            with (
                log.open("w") as out,
                subprocess.Popen(
                    argv,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                ) as build,
            ):
                assert build.stdout is not None
                for line in build.stdout:
                    out.write(line)
                    if line.startswith(("I: running", "I: installing", "I: downloading", "E:")):
                        say(f"lab:   {time.monotonic() - begin:5.1f} s  {line.strip()[:90]}")
        except FileNotFoundError as error:
            raise LabError(f"{error.filename} is not installed: run `make bootstrap` first") from None
        if build.returncode != 0:
            shutil.rmtree(part, ignore_errors=True)
            raise LabError(
                f"the image of the servers could not be built: see {log}, then `python -m lab up` again"
            )
        part.rename(folder)


def disk(key: str, size: str) -> Path:
    """The disk every server of that image begins with: a sparse ext4 file of that size.

    A virtual machine has its whole tree on it. A box has only what differs from the image: ``var`` (the
    image's /var) and ``root`` (upper and work folder of the server's root overlay).
    """
    target = cache() / key / f"disk-{size}.ext4"
    with locked(cache() / f"{key}.lock"):
        if target.exists():
            return target
        whole = kind_of(key) == VIRTUAL
        content = rootfs(key) if whole else cache() / key / "disk"
        if not whole:
            shutil.rmtree(content, ignore_errors=True)
            for name in ("upper", "work"):
                (content / "root" / name).mkdir(parents=True)
            run(["cp", "-a", str(rootfs(key) / "var"), str(content / "var")])
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        run(["truncate", "-s", size.upper(), str(part)])
        run(["mke2fs", *MKFS, "-E", MKFS_LAZY, "-d", str(content), str(part)], timeout=600)
        part.rename(target)
        if not whole:
            shutil.rmtree(content)
    return target
