"""Whether an executable is at the pinned version, asked of the executable itself."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toolchain.model import Tool

_SECONDS = 20


def prints_version(command: Sequence[str], version: str) -> bool:
    """Whether ``command`` prints ``version``, as a word of its own: 1.2.3 is neither 11.2.3 nor 1.2.3+x."""
    return re.search(rf"(?<![\d.])v?{re.escape(version)}(?![\w+]|[.-]\w)", _output(command)) is not None


def go_version(go: Path) -> tuple[int, ...]:
    """The version that ``go version`` prints, as numbers; empty when it prints none."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)\b", _output([str(go), "version"]))
    return numbers(found[1]) if found else ()


def numbers(version: str) -> tuple[int, ...]:
    """``1.26.6`` as ``(1, 26, 6)``."""
    return tuple(int(each) for each in version.split("."))


def at_version(tool: Tool, folder: Path) -> str:
    """The first file of the tool's probe in ``folder`` that is not at the version, or ``""``."""
    for name, words in tool.probe.items():
        if tool.path.minimum is not None:
            if go_version(folder / name) < numbers(tool.path.minimum):
                return name
        elif not prints_version([str(folder / name), *words], tool.version):
            return name
    return ""


def _output(command: Sequence[str]) -> str:
    # A CNI plugin acts, instead of printing its version, when its variables are set.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CNI_")}
    clean["GOTOOLCHAIN"] = "local"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
