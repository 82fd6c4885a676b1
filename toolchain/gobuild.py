"""Tools from Go modules: ``go build`` of a recipe folder, with its committed go.mod and go.sum only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from toolchain.errors import SourceError
from toolchain.model import GoBuild, Tool


class Builder:
    """Runs Go builds. ``go`` is the Go to use; ``cache`` holds its module and build caches.

    ``stop()`` ends every build that runs, from any thread.
    """

    def __init__(
        self, cache: Path, go: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.go = go
        self._cache = cache
        self._environment = dict(os.environ if environment is None else environment)
        self._running: set[int] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def build(self, tool: Tool, into: Path, log: Path) -> str:
        """Builds ``tool`` into the folder ``into``, with all output in the file ``log``.

        Raises ``SourceError`` naming the log file and its last telling line.
        """
        if self.go is None:
            raise SourceError("there is no Go to build with")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            stream.write(time.strftime(f"{tool.name} {tool.version}, %Y-%m-%d %H:%M:%S\n").encode())
            stream.flush()
            for recipe in tool.go:
                self._one(tool, recipe, into, stream.fileno(), log)
        return "Go modules"

    def stop(self) -> None:
        """Ends the running builds with all their processes; no other starts."""
        with self._guard:
            self._stopped = True
            for group in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGTERM)

    def _one(self, tool: Tool, recipe: GoBuild, into: Path, output: int, log: Path) -> None:
        folder = tool.root / recipe.folder
        environment = {
            **self._environment,
            "CGO_ENABLED": "1" if recipe.cgo else "0",
            "GOCACHE": str(self._cache / "build"),
            # With modules that their owner may remove again.
            "GOFLAGS": "-mod=readonly -modcacherw",
            "GOMODCACHE": str(self._cache / "mod"),
            "GOOS": "linux",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        ldflags = " ".join(["-s", "-w", *map(tool.fill, recipe.ldflags)])
        common = ["-trimpath", "-buildvcs=false", "-tags", ",".join(recipe.tags), "-ldflags", ldflags]
        # One command compiles what the files share once, and links them side by side.
        made = into / ".go"
        made.mkdir()
        self._run(
            [str(self.go), "build", *common, "-o", f"{made}/", *recipe.packages.values()],
            folder,
            environment,
            output,
            log,
        )
        for file, package in recipe.packages.items():
            (made / self._program(package, folder, environment)).rename(into / file)
        made.rmdir()
        for file, place in recipe.copies.items():
            module, _, inside = place.partition(":")
            base = self._ask(["list", "-m", "-f", "{{.Dir}}", module], folder, environment)
            shutil.copyfile(Path(base) / inside, into / file)
            (into / file).chmod(0o755)

    def _program(self, package: str, folder: Path, environment: Mapping[str, str]) -> str:
        """The name that ``go build`` gives the program of ``package``."""
        return Path(self._ask(["list", "-f", "{{.Target}}", package], folder, environment)).name

    def _ask(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
        done = subprocess.run(
            [str(self.go), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SourceError(f"go {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def _run(
        self, command: list[str], folder: Path, environment: Mapping[str, str], output: int, log: Path
    ) -> None:
        # Below everything else that the machine does; a group of its own, so that it can be ended whole.
        nice = ["nice", "-n", "10"] if shutil.which("nice") else []
        with self._guard:
            if self._stopped:
                raise SourceError("interrupted")
            process = subprocess.Popen(
                [*nice, *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self._running.add(process.pid)
        try:
            status = process.wait()
        finally:
            with self._guard:
                self._running.discard(process.pid)
        if status:
            raise SourceError(f"{_last_line(log)}; the whole log: {log}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("go: downloading ")]
    return telling[-1] if len(telling) > 1 else "go build failed without a word"
