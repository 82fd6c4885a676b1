"""Recipes: what their digest covers, and what is said of a wrong one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from images.errors import ImageError
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


def test_every_module_that_makes_content_is_in_the_digest() -> None:
    recipes = load_recipes()
    from images import recipe as module

    outside = {"__init__.py", "__main__.py", "errors.py", "locking.py", "recipe.py"}
    assert {file.name for file in RECIPES.glob("*.py")} - outside == set(module._CODE)
    assert {"pause", "coredns", "glance", "haproxy", "keystone", "memcached"} == {
        n for n, r in recipes.items() if r.published
    }


def test_no_image_runs_as_root_or_shares_its_user() -> None:
    users = [r.document.runtime.user for r in load_recipes().values() if r.document.runtime is not None]
    assert len(users) == len(set(users))
    assert min(users) >= 1000
