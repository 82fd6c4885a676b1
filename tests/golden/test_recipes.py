"""What each image is made of, once its recipe and the parts that it shares with others are merged.

A change of a shared part shows here in every image that it changes. Write the file anew with: make golden
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from images.recipe import Recipe, load_recipes

GOLDEN = Path(__file__).with_name("recipes.yaml")
HEAD = "# What each image is made of: its recipe, merged with the parts that several recipes share.\n"


def merged(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what is as by default. Lists whose order decides nothing are sorted."""
    found = recipe.document.model_dump(exclude_defaults=True)
    if "python" in found:
        for key in ("drop", "option_namespaces"):
            found["python"][key] = sorted(found["python"].get(key, []))
    found["directories"] = sorted(found.get("directories", []))
    return found


def test_each_image_is_made_of_what_was_reviewed() -> None:
    found = {name: merged(recipe) for name, recipe in load_recipes().items()}
    if os.environ.get("JARVIS_GOLDEN") == "write":
        GOLDEN.write_text(HEAD + yaml.safe_dump(found, width=110))
    assert found == yaml.safe_load(GOLDEN.read_text())
