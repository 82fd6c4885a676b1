"""The builder, on a small Debian package made here: what is built, when, and what an interruption leaves."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from images import ImageError, build, debian
from images.debian import Apt, Package, read_lock, resolve, write_lock
from images.layout import blob_path, read_layers
from images.recipe import Recipe, file_digest, load_recipes


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package with a program that has the set-user-id bit, documentation, and a module of Python."""
    root = tmp_path / "package"
    for path, content in {
        "DEBIAN/control": "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n",
        "bin/tool": "#!/bin/sh\n",
        "usr/share/doc/tool/changelog": "long",
        "usr/share/doc/tool/copyright": "free",
        "usr/lib/python3.11/module.py": "answer = 42\n",
        "usr/lib/python3.11/template.py": "{% not python %}\n",
        "usr/games/toy": "fun",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    (root / "bin/tool").chmod(0o4755)
    file = tmp_path / "tool_1_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(root), str(file)], check=True, capture_output=True
    )
    return file


@pytest.fixture
def recipes(tmp_path: Path, deb: Path) -> dict[str, Recipe]:
    """The recipe ``image``, which holds that package, upon ``base``; the package is in the cache already."""
    package = Package(name="tool", version="1", sha256=file_digest(deb))
    downloads = tmp_path / "cache" / "downloads" / "debian"
    downloads.mkdir(parents=True)
    deb.rename(downloads / f"{package.sha256}.deb")
    for name, text in {
        "base": 'description = "below"\n[files]\n"etc/below" = "1"\n',
        "image": 'description = "small"\nbase = "base"\n[debian]\npackages = ["tool"]\n'
        'drop = ["usr/games/*"]\n[runtime]\nuser = 1000\nname = "someone"\n',
    }.items():
        (tmp_path / "recipes" / name).mkdir(parents=True)
        (tmp_path / "recipes" / name / "recipe.toml").write_text(text)
    (tmp_path / "recipes/image/packages.lock").write_text(write_lock("20260101T000000Z", [package]))
    return load_recipes(tmp_path / "recipes")


def members(layout: Path, digest: str) -> dict[str, tarfile.TarInfo]:
    found = {}
    for layer in read_layers(layout, digest):
        with tarfile.open(blob_path(layout, layer.digest)) as archive:
            found.update({member.name: member for member in archive})
    return found


def test_an_image_holds_its_packages_without_what_is_not_needed(
    tmp_path: Path, recipes: dict[str, Recipe]
) -> None:
    result = build(tmp_path / "cache", {}, recipes=recipes)["image"]
    found = members(Path(result["path"]), result["digest"])
    assert found["usr/bin/tool"].mode == 0o755, "no program of an image may change its user"
    assert "usr/share/doc/tool/copyright" in found
    assert "usr/lib/python3.11/__pycache__/module.cpython-311.pyc" in found
    assert "usr/lib/python3.11/template.py" in found
    assert "var/lib/dpkg/status.d/tool" in found
    assert {"etc/below", "etc/passwd", "tmp"} <= set(found)
    assert not {"usr/share/doc/tool/changelog", "usr/games/toy", "bin/tool"} & set(found)


def test_an_image_is_built_once_for_a_recipe(tmp_path: Path, recipes: dict[str, Recipe]) -> None:
    said: list[str] = []
    first = build(tmp_path / "cache", {}, progress=said.append, recipes=recipes)
    assert [line for line in said if line.endswith("building")] == [
        "image base: building",
        "image image: building",
    ]
    said.clear()
    assert build(tmp_path / "cache", {}, progress=said.append, recipes=recipes) == first
    assert said == []


def test_another_cache_gives_the_same_digest(tmp_path: Path, recipes: dict[str, Recipe]) -> None:
    first = build(tmp_path / "cache", {}, recipes=recipes)["image"]
    (tmp_path / "other").mkdir()
    (tmp_path / "cache" / "downloads").rename(tmp_path / "other" / "downloads")
    second = build(tmp_path / "other", {}, recipes=recipes)["image"]
    assert (second["digest"], second["recipe"]) == (first["digest"], first["recipe"])
    assert second["path"] != first["path"]


def test_a_layout_that_lacks_a_layer_is_built_again(tmp_path: Path, recipes: dict[str, Recipe]) -> None:
    first = build(tmp_path / "cache", {}, recipes=recipes)["image"]
    layer = read_layers(Path(first["path"]), first["digest"])[-1]
    blob_path(Path(first["path"]), layer.digest).unlink()
    assert build(tmp_path / "cache", {}, recipes=recipes)["image"] == first
    assert blob_path(Path(first["path"]), layer.digest).is_file()


def test_an_interrupted_build_leaves_no_image(
    tmp_path: Path, recipes: dict[str, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("images.builder.write_layout", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cache", {}, recipes=recipes)
    assert [path.suffix for path in (tmp_path / "cache" / "images").iterdir()] == [".lock"]
    monkeypatch.undo()
    result = build(tmp_path / "cache", {}, recipes=recipes)["image"]
    assert "usr/bin/tool" in members(Path(result["path"]), result["digest"])


def test_an_unknown_name_is_told_what_there_is(tmp_path: Path, recipes: dict[str, Recipe]) -> None:
    with pytest.raises(ImageError, match=r"no image is called imago; there are: base, image"):
        build(tmp_path, {}, ["imago"], recipes=recipes)


def test_every_source_is_tried_and_a_wrong_sum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def run(words: list[str], cwd: Path | None = None) -> str:
        if "download" in words:
            assert cwd is not None
            tried.append("own" if any("SourceList" in word for word in words) else "machine")
            (cwd / "tool_1_all.deb").write_bytes(b"something else")
        return ""

    monkeypatch.setattr(debian, "_run", run)
    package = Package(name="tool", version="1", sha256="0" * 64)
    with pytest.raises(ImageError) as raised:
        debian.fetch("image", "20260101T000000Z", [package], tmp_path)
    assert tried == ["machine", "own", "own"]
    text = str(raised.value)
    assert "tool=1" in text
    assert "is not that of the lock" in text
    assert "python -m images lock image" in text
    sources = (tmp_path / "apt/20260101T000000Z/sources.list").read_text()
    assert "snapshot.debian.org/archive/debian-security/20260101T000000Z bookworm-security" in sources
    assert list((tmp_path / "downloads/debian").iterdir()) == []


def test_what_one_source_has_is_kept_and_the_rest_asked_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], cwd: Path | None = None) -> str:
        if "download" in words:
            assert cwd is not None
            wanted = [word for word in words if word.endswith("=1") and word[0] != "-"]
            asked.append(wanted)
            name = "a" if len(asked) == 1 else "b"
            (cwd / f"{name}.deb").write_text(name)
            if len(asked) == 1:
                raise ImageError("b is not here")
        return ""

    monkeypatch.setattr(debian, "_run", run)
    packages = []
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        packages.append(Package(name=name, version="1", sha256=file_digest(tmp_path / name)))
    files = debian.fetch("image", "20260101T000000Z", packages, tmp_path)
    assert [file.read_text() for file in files] == ["a", "b"]
    assert asked == [["a=1", "b=1"], ["b=1"]]


def test_a_lock_is_read_as_it_was_written() -> None:
    packages = [Package(name=n, version="1:2-3", sha256=n * 64) for n in ("b", "a")]
    made, found = read_lock(write_lock("20260102T030405Z", packages))
    assert made == "20260102T030405Z"
    assert found == packages[::-1]


class Archive(Apt):
    """An archive of four packages, as apt would answer of it."""

    def __init__(self) -> None:
        pass

    def run(self, tool: str, *words: str, cwd: Path | None = None) -> str:
        packages = {
            "tool": "Depends: lib:any (>= 1), editor | pager, perl",
            "lib": "Pre-Depends: base",
            "base": "",
            "less": "Provides: pager",
            "perl": "Depends: perl-modules",
            "perl-modules": "",
        }
        if tool == "apt-get":
            return "".join(f"Inst {name} (1 Debian:12 [amd64])\n" for name in packages)
        return "\n\n".join(f"Package: {n}\nVersion: 1\nSHA256: {n}\n{d}".strip() for n, d in packages.items())


def test_dependencies_are_followed_but_not_through_what_is_left_out() -> None:
    assert {p.name for p in resolve(Archive(), ["tool"], ["perl"])} == {"tool", "lib", "base", "less"}
