"""Pulumi's official plugins, where this machine has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from toolchain.plugin_choice import PLUGINS

VARIABLE = "JARVIS_OFFICIAL_PLUGINS"


def official_plugins(target: Path, *, home: Path, ours: Path, environment: Mapping[str, str]) -> Path | None:
    """A folder with all official plugins, made of ``target``; ``None`` where the machine lacks one.

    They are looked for in the folder that JARVIS_OFFICIAL_PLUGINS names (also packed, as ``<name>.zst``), in
    Pulumi's own (``home``), and on PATH, where ``ours`` (the folder of our launchers) does not count.

    Raises ``FileNotFoundError`` where the variable names a folder that has not all of them.
    """
    named = environment.get(VARIABLE)
    target.mkdir(parents=True, exist_ok=True)
    for name, version in PLUGINS.items():
        file = f"pulumi-resource-{name}"
        if named:
            places = [Path(named) / file, Path(named) / f"{file}.zst"]
        else:
            folders = environment.get("PATH", "").split(os.pathsep)
            outside = [each for each in folders if each and Path(each).resolve() != ours.resolve()]
            found = shutil.which(file, path=os.pathsep.join(outside))
            places = [
                home / "plugins" / f"resource-{name}-v{version}" / file,
                *([Path(found)] if found else []),
            ]
        source = next((each for each in places if each.is_file()), None)
        if source is None:
            if named:
                raise FileNotFoundError(f"{VARIABLE}={named}: there is no {file}, nor {file}.zst")
            return None
        plugin = target / file
        plugin.unlink(missing_ok=True)
        if source.suffix == ".zst":
            subprocess.run(["zstd", "-q", "-d", str(source), "-o", str(plugin)], check=True)
            plugin.chmod(0o755)
        else:
            plugin.symlink_to(source.resolve())
    return target
