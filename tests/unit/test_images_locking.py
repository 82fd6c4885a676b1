"""Locks: what a lock asks of Debian and of uv, and what it leaves to the bases of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from images import locking
from images.debian import Package, read_lock
from images.locking import lock

CLOSURES = {
    "python": ["python", "libc"],
    "ceph": ["ceph", "libc", "librados"],
    "grep": ["grep", "libc", "librados"],
}
LOCKED = {"python": {"python", "libc"}, "ceph": {"ceph", "librados"}, "service": {"grep"}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What uv is asked; apt is one that knows the packages of ``CLOSURES``."""

    class Apt:
        def __init__(self, folder: Path) -> None:
            pass

        def update(self) -> None:
            pass

    def resolve(apt: Apt, packages: Sequence[str], without: Iterable[str]) -> list[Package]:
        wanted = {name for each in packages for name in CLOSURES[each]} - set(without)
        return [Package(name=name, version="1", sha256="0") for name in wanted]

    words: list[tuple[str, ...]] = []
    monkeypatch.setattr(locking, "Apt", Apt)
    monkeypatch.setattr(locking, "resolve", resolve)
    monkeypatch.setattr(locking, "run_uv", lambda *each: words.append(each))
    return words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The recipe ``service`` upon ``ceph`` upon ``python``, with a package of Debian in each, and wheels."""
    for name, text in {
        "python": 'description = "x"\n[debian]\npackages = ["python"]\n',
        "ceph": 'description = "x"\nbase = "python"\n[debian]\npackages = ["ceph"]\n',
        "service": 'description = "x"\nbase = "ceph"\n[debian]\npackages = ["grep"]\n[python]\n',
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(text)
    return tmp_path


def test_a_lock_has_nothing_that_a_base_has_however_far_below(
    folder: Path, asked: list[tuple[str, ...]]
) -> None:
    lock([], folder / "cache", folder=folder)
    locked = {name: read_lock((folder / name / "packages.lock").read_text())[1] for name in LOCKED}
    assert {name: {each.name for each in packages} for name, packages in locked.items()} == LOCKED


def test_a_base_without_packages_is_passed_over(folder: Path, asked: list[tuple[str, ...]]) -> None:
    (folder / "ceph/recipe.toml").write_text('description = "x"\nbase = "python"\n')
    lock(["service"], folder / "cache", folder=folder)
    _, packages = read_lock((folder / "service/packages.lock").read_text())
    assert {each.name for each in packages} == {"grep", "librados"}


@pytest.mark.parametrize("keep", [False, True])
def test_versions_are_kept_where_that_is_asked(
    folder: Path, asked: list[tuple[str, ...]], keep: bool
) -> None:
    lock(["openstack", "service"], folder / "cache", folder=folder, keep=keep)
    assert [words[words.index("--output-file") + 1] for words in asked] == [
        "openstack/requirements.txt",
        "service/requirements.txt",
    ]
    assert ["--upgrade" in words for words in asked] == [not keep] * 2
    assert "openstack/requirements.txt" in asked[1]
