"""Commands that stand in for a server's, put first on PATH of a script under test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

JARVIS = Path(__file__).resolve().parents[2] / "jarvis"
FILES = JARVIS / "files"


def owner_of(path: Path) -> str:
    """``user:group``; of a folder that a test made: the ones that it may give files to without being root."""
    return f"{path.owner()}:{path.group()}"


class Commands:
    """A folder of commands. Each call is written down in ``log``, as its words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        folder.mkdir(parents=True, exist_ok=True)
        self.log.touch()

    def add(self, name: str, script: str = "") -> None:
        """A command whose body is ``script``, in bash."""
        path = self.folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>"{self.log}"\n{script}\n')
        path.chmod(0o755)

    def say(self, name: str, output: str, status: int = 0) -> None:
        """A command that prints ``output`` whatever it is told."""
        text = self.folder / f"{name}.out"
        text.write_text(output)
        self.add(name, f'cat "{text}"; exit {status}')

    def stage_here(self) -> None:
        """apply.sh stages what it gets below /run, which is root's; here it does so in this folder."""
        path = self.folder / "mktemp"
        path.write_text(f'#!/bin/bash\nexec /usr/bin/mktemp "$1" "{self.folder}/${{2##*/}}"\n')
        path.chmod(0o755)

    def calls(self, name: str = "") -> list[str]:
        """The calls so far, or those of ``name``."""
        return [line for line in self.log.read_text().splitlines() if line.startswith(f"{name} ") or not name]

    def run(
        self, script: str, *words: str, root: Path, stdin: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``jarvis/files/<script>`` with ``root`` in place of the server's /."""
        return subprocess.run(
            ["bash", str(FILES / script), *words],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}", "JARVIS_ROOT": str(root), **env},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
