"""Which plugins are used, and that ours never stand in the way of the official ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from publisher import Publisher

from toolchain import plugin_choice
from toolchain.errors import ToolchainError
from toolchain.fetch import Fetcher
from toolchain.plugin_choice import PLUGINS, Choice, apply, choose


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return tmp_path / "checkout" / "bin"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "pulumi-home"


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 1 of loopback has no listener.
    monkeypatch.setattr(plugin_choice, "PUBLISHER", "http://127.0.0.1:1/{name}-{version}")


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch, publisher: Publisher) -> None:
    for name, version in PLUGINS.items():
        publisher.files[f"/{name}-{version}"] = b"plugin"
    monkeypatch.setattr(plugin_choice, "PUBLISHER", f"{publisher.address}/{{name}}-{{version}}")


def program(file: Path, text: str = "exit 0") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def ask(tmp_path: Path, home: Path, ours: Path, pulumi: Path | None = None, **environment: str) -> Choice:
    environment = {"PATH": "/usr/bin:/bin", **environment}
    return choose(pulumi or tmp_path / "no-pulumi", home, ours, environment, Fetcher(1.0, 1.0))


def test_installed_plugins_are_official(tmp_path: Path, home: Path, ours: Path, unreachable: None) -> None:
    for name, version in PLUGINS.items():
        program(home / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}")
    assert ask(tmp_path, home, ours).kind == "official"


def test_half_installed_plugins_are_not(tmp_path: Path, home: Path, ours: Path, unreachable: None) -> None:
    for name, version in PLUGINS.items():
        program(home / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}")
        (home / "plugins" / f"resource-{name}-v{version}.partial").touch()
    assert ask(tmp_path, home, ours).kind == "offline"


def test_plugins_on_path_are_official_unless_they_are_ours(
    tmp_path: Path, home: Path, ours: Path, unreachable: None
) -> None:
    for name in PLUGINS:
        program(ours / f"pulumi-resource-{name}")
    assert ask(tmp_path, home, ours, PATH=f"{ours}:/usr/bin").kind == "offline"
    for name in PLUGINS:
        program(tmp_path / "elsewhere" / f"pulumi-resource-{name}")
    assert ask(tmp_path, home, ours, PATH=f"{ours}:{tmp_path / 'elsewhere'}").kind == "official"


def test_unreachable_publisher_means_offline(
    tmp_path: Path, home: Path, ours: Path, unreachable: None
) -> None:
    choice = ask(tmp_path, home, ours)
    assert choice.kind == "offline"
    assert "127.0.0.1:1 cannot be reached" in str(choice)
    assert "\n" not in str(choice)


def test_reachable_publisher_means_official(tmp_path: Path, home: Path, ours: Path, reachable: None) -> None:
    log = tmp_path / "log"
    pulumi = program(tmp_path / "pulumi", f'echo "$PULUMI_HOME $*" >> {log}')
    assert ask(tmp_path, home, ours, pulumi).kind == "official"
    expected = [f"{home} plugin install resource {name} {version}" for name, version in PLUGINS.items()]
    assert log.read_text().splitlines() == expected


def test_install_that_fails_means_offline(tmp_path: Path, home: Path, ours: Path, reachable: None) -> None:
    pulumi = program(tmp_path / "pulumi", "echo 403 rate limit >&2; exit 1")
    choice = ask(tmp_path, home, ours, pulumi)
    assert choice.kind == "offline"
    assert "403 rate limit" in str(choice)


def test_variable_forces_offline(tmp_path: Path, home: Path, ours: Path, reachable: None) -> None:
    assert ask(tmp_path, home, ours, JARVIS_PLUGINS="offline").kind == "offline"


def test_variable_that_forces_official_fails_when_there_are_none(
    tmp_path: Path, home: Path, ours: Path, unreachable: None
) -> None:
    with pytest.raises(ToolchainError, match="JARVIS_PLUGINS=official, but"):
        ask(tmp_path, home, ours, JARVIS_PLUGINS="official")


def test_unknown_choice_is_refused(tmp_path: Path, home: Path, ours: Path) -> None:
    with pytest.raises(ToolchainError, match="JARVIS_PLUGINS=both: choose official or offline"):
        ask(tmp_path, home, ours, JARVIS_PLUGINS="both")


def test_launchers_come_and_go(ours: Path, tmp_path: Path) -> None:
    # The adapters' place is taken by a module that says what it was started with.
    project = tmp_path / "a project's folder"
    for name in PLUGINS:
        package = project / "toolchain" / "plugins" / name
        package.mkdir(parents=True)
        (package / "__main__.py").write_text(f"import sys\nprint({name!r}, *sys.argv[1:])\n")
    apply(Choice(kind="offline", reason=""), ours, Path(sys.executable), project)
    for name in PLUGINS:
        done = subprocess.run(
            [ours / f"pulumi-resource-{name}", "127.0.0.1:1234"],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        assert done.stdout == f"{name} 127.0.0.1:1234\n"
    apply(Choice(kind="official", reason=""), ours, Path(sys.executable), project)
    assert list(ours.iterdir()) == []
