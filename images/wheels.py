"""Python wheels as the content of a layer: a virtual environment at ``/opt/openstack``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from images.bytecode import compile_files
from images.errors import ImageError
from images.layer import Entry, Tree, matches
from images.recipe import REQUIREMENTS_LOCK

HOME = "opt/openstack"
PYTHON = "/usr/bin/python3.11"
PLATFORM = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
_INSTALL_TIMEOUT = 900
# Folders that a wheel has beside its packages.
_DATA = ("bin", "etc", "include", "share", "man")


def uv() -> str:
    """The uv of this environment. Raises ``ImageError`` where there is none."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise ImageError("uv is not installed in this environment; type: make venv")
    return found


def run_uv(*words: str) -> str:
    """The output of uv. Raises ``ImageError`` with the last lines of what it said."""
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_SYSTEM_PYTHON")}
    try:
        done = subprocess.run(
            [uv(), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_INSTALL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ImageError(f"uv {words[0]} did not end within {_INSTALL_TIMEOUT} s") from None
    if done.returncode != 0:
        raise ImageError(
            f"uv {' '.join(words[:2])} failed: " + "\n".join(done.stderr.strip().splitlines()[-8:])
        )
    return done.stdout


def install(lock: str, stage: Path, source: Sequence[str] = ()) -> Path:
    """Installs the wheels of ``lock``, each checked against its hashes, into a folder below ``stage``.

    The packages ``source`` are built from their source, by the build tools of the same lock; only Python
    may be in them. Raises ``ImageError`` where one is not, or is not in the lock.
    """
    requirements = stage / REQUIREMENTS_LOCK
    requirements.write_text(lock, encoding="utf-8")
    site = stage / "site-packages"
    words = ["--only-binary", ":all:"]
    if source:
        names = re.findall(r"^([a-zA-Z0-9._-]+)==", lock, flags=re.MULTILINE)
        if missing := sorted(set(source) - set(names)):
            raise ImageError(f"{', '.join(missing)} is to be built from its source and not in the lock")
        words = [word for name in names if name not in source for word in ("--only-binary", name)]
        # Built anew each time: a wheel in uv's cache may be of other build tools.
        words += [word for name in source for word in ("--refresh-package", name)]
        words += ["--build-constraints", str(requirements)]
    run_uv(
        *("pip", "install", "--quiet", "--no-deps", "--require-hashes", *words),
        *("--no-config", "--target", str(site), *PLATFORM, "-r", str(requirements)),
    )
    for name in source:
        _check_pure(site, name)
    return site


def _check_pure(site: Path, name: str) -> None:
    for file in site.glob("*.dist-info/WHEEL"):
        if file.parent.name.lower().startswith(f"{name}-"):
            if "Root-Is-Purelib: true" not in file.read_text(encoding="utf-8"):
                raise ImageError(f"{name} was built from its source into code of this machine's processor")
            return


def site_of(home: str) -> str:
    """The site-packages of the virtual environment at ``home``."""
    return f"{home}/lib/python3.11/site-packages"


def compile_site(site: Path, drop: Sequence[str]) -> None:
    """Compiles the wheels installed in ``site``, but for what is left out."""
    sources = [
        file
        for file in sorted(site.rglob("*.py"))
        if not _dropped(str(file.relative_to(site)), [*_DATA, *drop])
    ]
    compile_files((file, f"/{site_of(HOME)}/{file.relative_to(site)}") for file in sources)


def add(tree: Tree, site: Path, drop: Sequence[str], home: str = HOME, etc: str = "etc") -> None:
    """Adds the wheels installed in ``site``, and the virtual environment at ``home`` around them.

    ``etc``: where the configuration lies that comes with them.
    """
    tree.folder(
        site_of(home),
        site,
        [
            *_DATA,
            *drop,
            ".lock",
            "*.dist-info/RECORD",
            "*.dist-info/direct_url.json",
            "*.dist-info/uv_build.json",
        ],
    )
    for name, place in (("etc", etc), ("share", f"{home}/share")):
        if (site / name).is_dir():
            tree.folder(place, site / name)
    for script in sorted((site / "bin").iterdir()):
        tree.add(f"{home}/bin/{script.name}", Entry(mode=0o755, content=_portable(script.read_bytes(), home)))
    tree.link(f"{home}/bin/python3", PYTHON)
    tree.text(
        f"{home}/pyvenv.cfg", f"home = {PYTHON.rpartition('/')[0]}\ninclude-system-site-packages = false\n"
    )


def _dropped(path: str, drop: Sequence[str]) -> bool:
    parts = path.split("/")
    return any(matches("/".join(parts[: n + 1]), drop) for n in range(len(parts)))


def _portable(script: bytes, home: str) -> bytes:
    """A script whose first line names the Python at ``home`` instead of this machine's."""
    head, newline, rest = script.partition(b"\n")
    if not (head.startswith(b"#!") and b"python" in head):
        return script
    return b"#!/" + f"{home}/bin/python3".encode() + newline + rest
