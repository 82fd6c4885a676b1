"""Recipes: what their digest covers, and what is said of a wrong one."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from images.errors import ImageError
from images.parts import SHARED
from images.recipe import RECIPES, digest, load_recipes

MINIMAL = 'description = "small"\n[runtime]\nuser = 1000\nname = "someone"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recipes: ``base``, and ``service`` upon it, which holds the tool ``hammer``."""
    for name, text in {
        "base": 'description = "below"\n[files]\n"etc/a" = "1"\n',
        "service": f'base = "base"\n{MINIMAL}[tools]\nhammer = "usr/bin/hammer"\n',
    }.items():
        (tmp_path / "recipes" / name).mkdir(parents=True)
        (tmp_path / "recipes" / name / "recipe.toml").write_text(text)
    (tmp_path / "hammer").write_text("one")
    return tmp_path


def of_service(folder: Path, tools: Path | None = None) -> str:
    recipes = load_recipes(folder / "recipes")
    return digest(recipes["service"], recipes, {"hammer": tools or folder / "hammer"})


def test_digest_does_not_depend_on_where_things_lie(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder / "recipes", elsewhere / "recipes")
    shutil.copy(folder / "hammer", elsewhere / "other-name")
    assert of_service(elsewhere, elsewhere / "other-name") == of_service(folder)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("recipes/service/recipe.toml", f'base = "base"\n{MINIMAL}[tools]\nhammer = "usr/sbin/hammer"\n'),
        ("recipes/base/recipe.toml", 'description = "below"\n[files]\n"etc/a" = "2"\n'),
        ("hammer", "two"),
    ],
)
def test_digest_covers_recipe_base_and_tools(folder: Path, file: str, text: str) -> None:
    before = of_service(folder)
    (folder / file).write_text(text)
    assert of_service(folder) != before


def test_digest_covers_our_own_modules(folder: Path) -> None:
    (folder / "recipes/openstack").mkdir()
    module = folder / "recipes/openstack/answering.py"
    module.write_text("one")
    recipe = folder / "recipes/service/recipe.toml"
    recipe.write_text(recipe.read_text() + '[python]\nmodules = ["answering.py"]\n')
    (folder / "recipes/service/requirements.txt").write_text("")
    before = of_service(folder)
    module.write_text("two")
    assert of_service(folder) != before
    module.unlink()
    with pytest.raises(ImageError, match=r"image service: .*answering\.py is missing$"):
        of_service(folder)


def test_digest_does_not_cover_how_a_recipe_is_written(folder: Path) -> None:
    recipe = folder / "recipes/service/recipe.toml"
    recipe.write_text(recipe.read_text() + '[files]\n"etc/a" = "1"\n')
    before = of_service(folder)
    text = recipe.read_text().replace('[files]\n"etc/a" = "1"\n', "# Why this is so.\n")
    recipe.write_text(f"deployed = false\n{text}")
    assert of_service(folder) != before, "it lacks a file"
    (folder / "recipes/service/root/etc").mkdir(parents=True)
    (folder / "recipes/service/root/etc/a").write_text("1")
    assert of_service(folder) == before


def test_a_tool_that_is_not_built_is_named(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"image service needs the tool hammer.*make artifacts"):
        of_service(folder, folder / "gone")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MINIMAL + 'colour = "red"\n', r"image service: .*recipe\.toml(?s:.)*colour"),
        (MINIMAL.replace("1000", "0"), r"image service: .*recipe\.toml(?s:.)*runtime\.user"),
        ("description =\n", r"image service: .*recipe\.toml is not a recipe"),
        ('base = "sand"\n' + MINIMAL, r"image service: its base sand is not a recipe"),
        (MINIMAL + '[debian]\npackages = ["a"]\n', r"packages\.lock is missing; type: python -m images lock"),
        (MINIMAL + "[python]\n", r"requirements\.txt is missing; type: python -m images lock service"),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(folder: Path, text: str, problem: str) -> None:
    (folder / "recipes" / "service" / "recipe.toml").write_text(text)
    with pytest.raises(ImageError, match=problem):
        load_recipes(folder / "recipes")


PART = """
directories = ["var/lib/{name}"]
[runtime]
name = "{name}"
ports = ["{port}"]
command = ["serve", "--port={port}"]
[runtime.environment]
LANG = "C.UTF-8"
PATH = "/usr/bin"
"""
WITH_PART = """
description = "small"
directories = ["etc/service", "var/lib/service"]
[parts.server]
port = 80
[runtime]
user = 1000
[runtime.environment]
PATH = "/opt/bin"
"""


def with_part(folder: Path, text: str = WITH_PART, part: str = PART) -> Path:
    """The folder of the recipes, of which ``service`` has the part ``server``."""
    (folder / "recipes" / SHARED).mkdir(exist_ok=True)
    (folder / "recipes" / SHARED / "server.toml").write_text(part)
    (folder / "recipes/service/recipe.toml").write_text(text)
    return folder / "recipes"


def test_a_recipe_goes_on_where_its_part_ends(folder: Path) -> None:
    document = load_recipes(with_part(folder))["service"].document
    assert document.directories == ["var/lib/service", "etc/service"]
    assert document.runtime is not None
    assert (document.runtime.name, document.runtime.user) == ("service", 1000)
    assert (document.runtime.ports, document.runtime.command) == ([80], ["serve", "--port=80"])
    assert document.runtime.environment == {"LANG": "C.UTF-8", "PATH": "/opt/bin"}


def test_digest_covers_parts(folder: Path) -> None:
    with_part(folder)
    before = of_service(folder)
    with_part(folder, part=PART.replace("--port", "--listen"))
    assert of_service(folder) != before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            WITH_PART.replace("parts.server", "parts.sever"),
            r"image service: there is no part sever; there are: server$",
        ),
        (
            WITH_PART.replace("port = 80", ""),
            r"image service: \[parts\.server\] does not say its port$",
        ),
        (
            WITH_PART.replace("port = 80", "port = 80\nhost = 1"),
            r"image service: \[parts\.server\] does not heed host$",
        ),
        (f'parts = ["server"]\n{MINIMAL}', r"each of its parts is a table \[parts\.NAME\]$"),
        (
            f'{MINIMAL}[files]\n"etc/a" = "1"\n',
            r"image service: etc/a is in its recipe and in its folder root$",
        ),
    ],
)
def test_a_wrong_part_is_one_clear_error(folder: Path, text: str, problem: str) -> None:
    recipes = with_part(folder, text)
    (recipes / "service/root/etc").mkdir(parents=True)
    (recipes / "service/root/etc/a").write_text("2")
    with pytest.raises(ImageError, match=problem):
        load_recipes(recipes)


def test_a_service_is_a_short_recipe() -> None:
    """And a part is named by a recipe at least: another would say nothing, unnoticed."""
    named = set()
    for name, recipe in load_recipes().items():
        text = (RECIPES / name / "recipe.toml").read_text()
        named |= set(tomllib.loads(text).get("parts", {}))
        assert recipe.document.runtime is None or len(text.splitlines()) <= 25, name
    assert named == {file.stem for file in (RECIPES / SHARED).glob("*.toml")}


def test_no_ports_are_shared() -> None:
    ports = [port for r in load_recipes().values() if r.document.runtime for port in r.document.runtime.ports]
    assert len(ports) == len(set(ports))


def test_every_module_that_makes_content_is_in_the_digest() -> None:
    recipes = load_recipes()
    from images import recipe as module

    outside = {"__init__.py", "__main__.py", "errors.py", "locking.py", "parts.py", "recipe.py"}
    assert {file.name for file in RECIPES.glob("*.py")} - outside == set(module._CODE)
    assert {"pause", "coredns", "glance", "haproxy", "keystone", "memcached", "nova", "placement"} == {
        n for n, r in recipes.items() if r.published
    }


def test_no_image_runs_as_root_or_shares_its_user() -> None:
    users = [r.document.runtime.user for r in load_recipes().values() if r.document.runtime is not None]
    assert len(users) == len(set(users))
    assert min(users) >= 1000
