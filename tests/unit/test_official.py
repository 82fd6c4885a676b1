"""Where the tests find Pulumi's official plugins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.official import VARIABLE, official_plugins
from toolchain.plugin_choice import PLUGINS


def plugins(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"pulumi-resource-{name}").write_text("#!/bin/sh\n")
        (folder / f"pulumi-resource-{name}").chmod(0o755)
    return folder


def find(root: Path, **environment: str) -> Path | None:
    return official_plugins(
        root / "target",
        home=root / "home",
        ours=root / "ours",
        environment={"PATH": "/nowhere", **environment},
    )


def test_a_folder_that_is_named_is_taken(tmp_path: Path) -> None:
    named = plugins(tmp_path / "named", *PLUGINS)
    found = find(tmp_path, **{VARIABLE: str(named)})
    assert found is not None
    assert sorted(path.resolve() for path in found.iterdir()) == sorted(named.iterdir())


def test_a_folder_that_is_named_must_have_all(tmp_path: Path) -> None:
    named = plugins(tmp_path / "named", "command")
    with pytest.raises(FileNotFoundError, match="there is no pulumi-resource-kubernetes"):
        find(tmp_path, **{VARIABLE: str(named)})


def test_pulumis_own_folder_and_the_path_are_looked_at(tmp_path: Path) -> None:
    plugins(tmp_path / f"home/plugins/resource-command-v{PLUGINS['command']}", "command")
    assert find(tmp_path) is None
    aside = plugins(tmp_path / "aside", "kubernetes")
    assert find(tmp_path, PATH=str(aside)) is not None


def test_our_own_launchers_are_not_the_official_plugins(tmp_path: Path) -> None:
    ours = plugins(tmp_path / "ours", *PLUGINS)
    assert find(tmp_path, PATH=str(ours)) is None
