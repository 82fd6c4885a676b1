"""The real pulumi CLI with the plugins of this checkout, and stacks to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".jarvis" / "bin"
PLUGINS = ("command", "kubernetes")
# No operation of these tests takes near as long; a hang must fail rather than hold the run up.
CLI_SECONDS = 600


@dataclass
class Run:
    """One run of the CLI: exit status, what it printed, and the engine's events."""

    status: int
    output: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def steps(self) -> dict[str, str]:
        """Resource name to what was done to it: create, update, replace, delete, same, refresh ...

        A replacement is told by its "replace" alone.
        """
        out: dict[str, str] = {}
        for event in self.events:
            metadata = event.get("resourcePreEvent", {}).get("metadata")
            if metadata is None or metadata["type"].startswith("pulumi:"):
                continue
            name = metadata["urn"].split("::")[-1]
            if out.get(name) != "replace":
                out[name] = metadata["op"]
        return out

    def progress(self) -> list[str]:
        """The lines plugins showed, lasting or passing."""
        return [event["diagnosticEvent"]["message"] for event in self.events if "diagnosticEvent" in event]


class Stack:
    """A Python program with a stack of its own in a folder of its own, state in a local file."""

    def __init__(self, folder: Path, tools: Path, name: str = "dev") -> None:
        self.folder, self.name = folder, name
        home = folder / "home"
        launchers = folder / "launchers"
        for path in (home, launchers, folder / "state"):
            path.mkdir(parents=True)
        for plugin in PLUGINS:
            # The checkout's own code, whatever plugin a user has linked into the tools.
            launcher = launchers / f"pulumi-resource-{plugin}"
            launcher.write_text(
                f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m toolchain.plugins.{plugin} "$@"\n'
            )
            launcher.chmod(0o755)
        ours = ("PULUMI_", "PYTHONDONTWRITEBYTECODE")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        path = [
            str(launchers),
            str(tools),
            str(Path(sys.executable).parent),
            environment.get("PATH", os.defpath),
        ]
        self.environment = {
            **environment,
            "PATH": os.pathsep.join(path),
            # Every run starts three Python processes; compiled modules save each of them a second.
            "PYTHONPYCACHEPREFIX": str(ROOT / ".jarvis" / "pycache"),
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase of the tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # Without it the CLI has no --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        (folder / "Pulumi.yaml").write_text("name: plugins-test\nruntime: python\n")
        self.write("")
        self.run("stack", "init", name)

    def write(self, program: str, variables: Mapping[str, object] | None = None) -> None:
        """Make this the program; `variables` are its globals (JSON values)."""
        head = (
            "import json, pulumi\n" + f"globals().update(json.loads({json.dumps(dict(variables or {}))!r}))\n"
        )
        main = self.folder / "__main__.py"
        before = int(main.stat().st_mtime) if main.exists() else 0
        main.write_text(head + program)
        # Python takes a compiled module for this one's where length and second of the file are the same.
        if int(main.stat().st_mtime) <= before:
            os.utime(main, (before + 1, before + 1))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the CLI in a process group of its own, for tests that interrupt it."""
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, succeed: bool = True) -> Run:
        """Run the CLI to its end; with `succeed` it must exit with 0, without, with something else."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=CLI_SECONDS)
        finally:
            process.kill()
        assert (process.returncode == 0) == succeed, output
        return Run(process.returncode, output)

    def _operation(self, *arguments: str, succeed: bool) -> Run:
        log = self.folder / "events.json"
        log.unlink(missing_ok=True)
        run = self.run(*arguments, f"--event-log={log}", "--stack", self.name, succeed=succeed)
        if log.exists():
            run.events = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
        return run

    def up(self, *arguments: str, succeed: bool = True) -> Run:
        """pulumi up."""
        return self._operation("up", "--yes", "--skip-preview", *arguments, succeed=succeed)

    def preview(self, *arguments: str, succeed: bool = True) -> Run:
        """pulumi preview."""
        return self._operation("preview", *arguments, succeed=succeed)

    def refresh(self, *arguments: str, succeed: bool = True) -> Run:
        """pulumi refresh."""
        return self._operation("refresh", "--yes", "--skip-preview", *arguments, succeed=succeed)

    def destroy(self, *arguments: str, succeed: bool = True) -> Run:
        """pulumi destroy."""
        return self._operation("destroy", "--yes", "--skip-preview", *arguments, succeed=succeed)

    def resources(self, *, secrets: bool = False) -> dict[str, dict[str, Any]]:
        """The resources in the state by name, providers and the stack excluded."""
        arguments = ["stack", "export", *(["--show-secrets"] if secrets else [])]
        state = json.loads(self.run(*arguments).output)
        found = state["deployment"].get("resources") or []
        return {
            resource["urn"].split("::")[-1]: resource
            for resource in found
            if not resource["type"].startswith("pulumi:")
        }

    def files(self) -> str:
        """All that the CLI wrote in the stack's folder, as one text: state, backups, history, events."""
        parts = []
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path.name != "__main__.py" and "launchers" not in path.parts:
                parts.append(path.read_bytes().decode(errors="replace"))
        return "\n".join(parts)
