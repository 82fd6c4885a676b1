"""Wheels: which of them may be built from their source."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import wheels
from images.errors import ImageError

LOCK = "one==1.0 \\\n    --hash=sha256:aa\ntwo==2.0 \\\n    --hash=sha256:bb\n"


def _uv(monkeypatch: pytest.MonkeyPatch, purelib: str) -> list[str]:
    """What uv is asked, by a uv that installs the package two."""
    asked: list[str] = []

    def run(*words: str) -> str:
        asked.extend(words)
        folder = Path(words[words.index("--target") + 1]) / "two-2.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "WHEEL").write_text(f"Root-Is-Purelib: {purelib}\n")
        return ""

    monkeypatch.setattr(wheels, "run_uv", run)
    return asked


def test_only_wheels_where_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _uv(monkeypatch, "true")
    wheels.install(LOCK, tmp_path)
    assert " --only-binary :all: " in " ".join(asked)
    assert "--build-constraints" not in asked


def test_a_named_package_alone_is_built_by_the_tools_of_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _uv(monkeypatch, "true")
    wheels.install(LOCK, tmp_path, ["two"])
    text = " ".join(asked)
    assert " --only-binary one " in text
    assert "--only-binary two" not in text
    assert "--require-hashes" in asked
    assert asked[asked.index("--build-constraints") + 1] == str(tmp_path / "requirements.txt")


def test_code_of_this_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _uv(monkeypatch, "false")
    with pytest.raises(ImageError, match="two was built from its source into code of this machine"):
        wheels.install(LOCK, tmp_path, ["two"])


def test_a_source_that_is_not_in_the_lock_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="three is to be built from its source and not in the lock"):
        wheels.install(LOCK, tmp_path, ["three"])
