"""Which Pulumi plugins a checkout uses: the official ones, or our adapters where those cannot be had.

The engine prefers a plugin that it finds on PATH. So our launchers stand in ``.jarvis/bin`` only when the
official plugins are neither installed nor installable, or when ``JARVIS_PLUGINS=offline`` asks for them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolchain.errors import SourceError, ToolchainError
from toolchain.fetch import Fetcher
from toolchain.links import write_launcher

VARIABLE = "JARVIS_PLUGINS"
# The versions whose behaviour the program was tested with, as pinned with the Python SDKs.
PLUGINS = {"command": "1.2.1", "kubernetes": "4.34.2"}
# Where the engine downloads them from when nothing else is configured; asked for only to see that it answers.
PUBLISHER = "https://get.pulumi.com/releases/plugins/pulumi-resource-{name}-v{version}-linux-amd64.tar.gz"
_INSTALL_SECONDS = 300

Kind = Literal["official", "offline"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choice and its reason, for the operator."""

    kind: Kind
    reason: str

    def __str__(self) -> str:
        return f"Pulumi plugins: {self.kind} ({self.reason})"


def choose(
    pulumi: Path,
    home: Path,
    ours: Path,
    environment: Mapping[str, str] | None = None,
    fetcher: Fetcher | None = None,
) -> Choice:
    """Chooses the plugins, and installs the official ones into ``home`` when that works within seconds.

    - ``pulumi``: the command-line program.
    - ``home``: Pulumi's own folder (PULUMI_HOME).
    - ``ours``: the folder of our launchers; what lies there does not count as official.

    Raises ``ToolchainError`` for an unknown ``JARVIS_PLUGINS``, or when it asks for official plugins that
    cannot be installed.
    """
    environment = os.environ if environment is None else environment
    forced = environment.get(VARIABLE, "").strip()
    if forced not in ("", "official", "offline"):
        raise ToolchainError(f"{VARIABLE}={forced}: choose official or offline")
    if forced == "offline":
        return Choice(kind="offline", reason=f"{VARIABLE}=offline")
    why = f"{VARIABLE}=official" if forced else ""
    lacking = {name: version for name, version in PLUGINS.items() if not _installed(home, name, version)}
    if not lacking:
        return Choice(kind="official", reason=why or f"installed in {home / 'plugins'}")
    lacking = {name: version for name, version in lacking.items() if not _on_path(name, ours, environment)}
    if not lacking:
        return Choice(kind="official", reason=why or "found on PATH")
    problem = _install(pulumi, home, lacking, environment, fetcher or Fetcher())
    if not problem:
        return Choice(kind="official", reason=why or f"installed in {home / 'plugins'}")
    if forced:
        raise ToolchainError(
            f"{why}, but {problem}\n  What to do: restore access, or unset {VARIABLE} to use our adapters"
        )
    return Choice(kind="offline", reason=f"our adapters, as {problem}")


def apply(choice: Choice, ours: Path, python: Path, project: Path) -> None:
    """Puts our launchers into the folder ``ours``, or takes them away, as ``choice`` says."""
    for name in PLUGINS:
        file = ours / f"pulumi-resource-{name}"
        if choice.kind == "official":
            file.unlink(missing_ok=True)
        else:
            write_launcher(file, launcher(name, python, project))


def launcher(name: str, python: Path, project: Path) -> str:
    """The text of the launcher of our adapter ``name``."""
    return (
        "#!/bin/sh\n# Written by python -m toolchain install, since the official plugin cannot be had here.\n"
        f"PYTHONPATH={shlex.quote(str(project))} exec {shlex.quote(str(python))} "
        f'-m toolchain.plugins.{name} "$@"\n'
    )


def _installed(home: Path, name: str, version: str) -> bool:
    folder = home / "plugins" / f"resource-{name}-v{version}"
    # The engine leaves a .partial beside a plugin that it did not finish to install.
    return os.access(folder / f"pulumi-resource-{name}", os.X_OK) and not Path(f"{folder}.partial").exists()


def _on_path(name: str, ours: Path, environment: Mapping[str, str]) -> bool:
    folders = [
        f for f in environment.get("PATH", "").split(os.pathsep) if f and Path(f).resolve() != ours.resolve()
    ]
    return shutil.which(f"pulumi-resource-{name}", path=os.pathsep.join(folders)) is not None


def _install(
    pulumi: Path, home: Path, lacking: Mapping[str, str], environment: Mapping[str, str], fetcher: Fetcher
) -> str:
    """Installs plugins; returns ``""`` or in a few words why not."""
    for name, version in lacking.items():
        url = PUBLISHER.format(name=name, version=version)
        try:
            fetcher.ask(url)
        except SourceError as error:
            return f"the official ones cannot be downloaded: {error}"
        with tempfile.TemporaryFile() as output:
            command = [str(pulumi), "plugin", "install", "resource", name, version]
            try:
                done = subprocess.run(
                    command,
                    env={**environment, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_INSTALL_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"`pulumi plugin install resource {name}` took more than {_INSTALL_SECONDS} s"
            if done.returncode:
                output.seek(0)
                words = output.read().decode(errors="replace").strip().splitlines()
                why = words[-1] if words else f"exit status {done.returncode}"
                return f"`pulumi plugin install resource {name}` failed: {why}"
    return ""
