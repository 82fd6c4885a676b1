"""The lock itself: complete, typed, and all its mistakes told."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from toolchain.errors import ToolchainError
from toolchain.fetch import expected_sum
from toolchain.model import LOCK, load_lock
from toolchain.probe import prints_version
from toolchain.release import server_tools

SUM = "a" * 64


def test_every_recipe_folder_is_used_and_locked() -> None:
    tools = load_lock()
    used = {build.folder for tool in tools.values() for build in tool.go}
    assert used == {folder.name for folder in (LOCK.parent / "go").iterdir()}
    for folder in used:
        assert (LOCK.parent / "go" / folder / "go.sum").is_file()


def test_recipes_require_the_versions_of_the_lock() -> None:
    for tool in load_lock().values():
        for build in tool.go:
            text = (LOCK.parent / "go" / build.folder / "go.mod").read_text()
            # The language host is an older module than the engine that runs it.
            if build.folder != "language-python":
                assert re.search(
                    rf"^(require)?\s*\S+ v{re.escape(tool.version)}( // indirect)?$", text, re.MULTILINE
                )


def test_recipes_need_no_newer_go_than_the_pinned_one() -> None:
    pinned = tuple(map(int, load_lock()["go"].version.split(".")))
    for file in LOCK.parent.glob("go/*/go.mod"):
        found = re.search(r"^go (\S+)$", file.read_text(), re.MULTILINE)
        assert found
        assert tuple(map(int, found[1].split("."))) <= pinned


def test_official_sources_are_fetched_safely() -> None:
    for tool in load_lock().values():
        for official in tool.official:
            assert official.url.startswith("https://")
            assert official.sums.startswith("https://")


def test_release_holds_what_a_server_runs() -> None:
    files = {file for tool in server_tools(load_lock()) for file in tool.files}
    assert {"etcd", "containerd", "containerd-shim-runc-v2", "runc", "kubelet", "kube-apiserver"} <= files
    assert {"kube-proxy", "kubectl", "registry", "portmap", "bridge", "host-local", "loopback"} <= files
    assert not files & {"pulumi", "coredns"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('version = "1.5.2"', 'version = "1.5.2"\ncolour = "red"'), "colour"),
        (('sources = ["path", "mirror", "wheel"]', 'sources = ["path", "ftp"]'), "tools|go|sources"),
        (('file = "kubelet"', 'file = "kubelot"'), "kubelot"),
        (("[tools.runc.probe]\nrunc =", "[tools.runc.probe]\nrung ="), "probe must name files"),
    ],
)
def test_mistakes_of_the_lock_are_errors(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    text = LOCK.read_text()
    assert change[0] in text
    (tmp_path / "lock.toml").write_text(text.replace(*change))
    with pytest.raises(ToolchainError, match=message):
        load_lock(tmp_path / "lock.toml", LOCK.parent / "go")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUM, SUM),
        (f"{SUM}\n", SUM),
        (f"{'b' * 64}  other\n{SUM}  file.tgz\n", SUM),
        (f"{SUM} *file.tgz", SUM),
        (f"{SUM}  ./file.tgz", SUM),
        (f"{SUM.upper()}  file.tgz", SUM),
        (f"{SUM}  file.tgz.asc", None),
        (f"{SUM[:-1]}  file.tgz", None),
        ("<html>not found</html>", None),
        ("", None),
    ],
)
def test_checksum_files_of_publishers(text: str, expected: str | None) -> None:
    assert expected_sum(text, "file.tgz") == expected


@pytest.mark.parametrize(
    ("printed", "same"),
    [
        ("Kubernetes v1.37.2", True),
        ("CoreDNS-1.37.2", True),
        ("containerd github.com/containerd/containerd/v2 1.37.2 abc", True),
        ("etcd Version: 1.37.2", True),
        ("Kubernetes v1.37.20", False),
        ("Kubernetes v1.37.2+k3s1", False),
        ("Kubernetes v1.37.2-rc.0", False),
        ("Kubernetes v11.37.2", False),
        ("", False),
    ],
)
def test_printed_versions(printed: str, same: bool) -> None:
    assert prints_version(["echo", printed], "1.37.2") is same


def test_bootstrap_and_launchers_are_clean_shell() -> None:
    subprocess.run(["shellcheck", LOCK.parent / "bootstrap.sh"], check=True)
