"""A service as a system extension: where its files lie, what runs them, and equal bytes of equal ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from images import builder
from images.builder import Result, build
from images.errors import ImageError
from images.recipe import file_digest, load_recipes

RECIPE = """
description = "small"
[python]
drop = ["*/tests"]
[runtime]
user = 1000
name = "small"
[links]
"opt/openstack/lib/python3.11/site-packages/rbd.so" = "/usr/lib/python3/dist-packages/rbd.so"
"etc/elsewhere" = "/etc/here"
"""
EXTENSION = '[extension]\ndist_packages = ["libvirt.py"]\n'
HOME = "usr/lib/openstack/small"
SITE = f"{HOME}/lib/python3.11/site-packages"


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe whose wheels are a module, its test, a program and its configuration."""

    def install(lock: str, stage: Path, source: object = ()) -> Path:
        site = stage / "site-packages"
        for path, text in {
            "service.py": "def main():\n    print('served from', main.__code__.co_filename)\n",
            "service_parts/tests/test_it.py": "",
            "service_parts/__init__.py": "",
            "bin/serve": "#!/some/where/python3\nimport service\nservice.main()\n",
            "etc/service/paste.ini": "[app]\n",
        }.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
        return site

    monkeypatch.setattr(builder, "install", install)
    folder = tmp_path / "recipes/small"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("")
    (folder / "recipe.toml").write_text(RECIPE + EXTENSION)
    return folder


def built(recipe: Path, cache: Path) -> Result:
    return build(cache, {}, recipes=load_recipes(recipe.parent))["small"]


def unpacked(result: Result, target: Path) -> Path:
    words = ["unsquashfs", "-q", "-n", "-d", str(target), result["extension"]["path"]]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return target


def test_the_extension_has_the_wheels_in_a_folder_of_its_own(recipe: Path, tmp_path: Path) -> None:
    result = built(recipe, tmp_path / "cache")
    root = unpacked(result, tmp_path / "root")
    files = {
        str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir() or each.is_symlink()
    }
    assert files == {
        f"{SITE}/service.py",
        f"{SITE}/__pycache__/service.cpython-311.pyc",
        f"{SITE}/service_parts/__init__.py",
        f"{SITE}/service_parts/__pycache__/__init__.cpython-311.pyc",
        f"{SITE}/libvirt.py",
        f"{SITE}/rbd.so",
        f"{HOME}/bin/serve",
        f"{HOME}/bin/python3",
        f"{HOME}/pyvenv.cfg",
        f"{HOME}/etc/service/paste.ini",
        "usr/lib/extension-release.d/extension-release.jarvis-small",
    }
    # systemd-sysext asks for the file that has the image's name, and for the server's release in it.
    assert result["extension"]["name"] == "jarvis-small"
    release = root / "usr/lib/extension-release.d/extension-release.jarvis-small"
    assert release.read_text() == "ID=debian\nVERSION_ID=12\n"
    assert (root / SITE / "libvirt.py").readlink() == Path("/usr/lib/python3/dist-packages/libvirt.py")
    assert (root / SITE / "rbd.so").readlink() == Path("/usr/lib/python3/dist-packages/rbd.so")
    assert (root / HOME / "bin/serve").read_text().startswith(f"#!/{HOME}/bin/python3\n")
    listing = subprocess.run(
        ["unsquashfs", "-lln", result["extension"]["path"]], capture_output=True, text=True, check=True
    ).stdout
    rights = {tuple(line.split()[:2]) for line in listing.splitlines() if "squashfs-root/" in line}
    assert rights == {(mode, "0/0") for mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx")}


def test_its_python_finds_the_wheels_and_takes_the_byte_code_of_the_image(
    recipe: Path, tmp_path: Path
) -> None:
    root = unpacked(built(recipe, tmp_path / "cache"), tmp_path / "root")
    module = root / SITE / "service.py"
    # Python does not compare byte code of the unchecked kind with its source.
    module.write_text("raise SystemExit('compiled anew')\n")
    python = root / HOME / "bin/python3"
    done = subprocess.run([python, root / HOME / "bin/serve"], capture_output=True, text=True, check=False)
    assert done.stdout == f"served from {module}\n", done.stderr


def test_equal_wheels_give_an_equal_extension(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = built(recipe, tmp_path / "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    before = os.umask(0o077)
    try:
        two = built(recipe, tmp_path / "two")
    finally:
        os.umask(before)
    assert one["extension"]["sha256"] == two["extension"]["sha256"]
    assert one["extension"]["path"] != two["extension"]["path"]
    file = Path(one["extension"]["path"])
    assert one["extension"]["sha256"] == file_digest(file)
    assert one["extension"]["size"] == file.stat().st_size


def test_the_image_is_the_same_with_an_extension_and_without(recipe: Path, tmp_path: Path) -> None:
    one = built(recipe, tmp_path / "cache")
    (recipe / "recipe.toml").write_text(RECIPE)
    two = built(recipe, tmp_path / "cache")
    assert one["digest"] == two["digest"]
    assert one["recipe"] != two["recipe"]
    assert "extension" not in two


def test_an_extension_that_is_gone_is_made_again(recipe: Path, tmp_path: Path) -> None:
    one = built(recipe, tmp_path / "cache")
    Path(one["extension"]["path"]).unlink()
    assert built(recipe, tmp_path / "cache") == one
    assert file_digest(Path(one["extension"]["path"])) == one["extension"]["sha256"]


def test_without_mksquashfs_the_error_says_what_to_type(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="apt-get install squashfs-tools"):
        built(recipe, tmp_path / "cache")


def test_an_extension_without_wheels_is_refused(recipe: Path) -> None:
    text = RECIPE.replace('[python]\ndrop = ["*/tests"]\n', "") + EXTENSION
    (recipe / "recipe.toml").write_text(text)
    with pytest.raises(ImageError, match=r"an extension has the wheels of \[python\], which is missing"):
        load_recipes(recipe.parent)
