"""Builds images from their recipes, each once for a recipe."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from images.bytecode import compile_files
from images.debian import extract, fetch, read_lock
from images.errors import ImageError
from images.extension import Packed as PackedExtension
from images.extension import pack_extension
from images.layer import Entry, Packed, Tree, pack
from images.layout import blob_path, blobs_of, read_layers, write_layout
from images.options import list_options
from images.recipe import (
    PACKAGES_LOCK,
    REQUIREMENTS_LOCK,
    Recipe,
    digest,
    load_recipes,
    module_text,
    tool_path,
)
from images.wheels import add as add_wheels
from images.wheels import compile_site, install

Progress = Callable[[str], None]
_RESULT = "result.json"


class Result(TypedDict, total=False):
    """A built image: ``path`` of its OCI layout, ``digest`` of its manifest, digest of its ``recipe``.

    A service of OpenStack has ``options`` too, the path of the list of its options (``images.options``), and
    one that has processes on servers an ``extension`` (``images.extension``)."""

    path: str
    digest: str
    recipe: str
    options: str
    extension: PackedExtension


def build(
    cache: Path,
    tools: Mapping[str, Path],
    names: Sequence[str] | None = None,
    progress: Progress = print,
    recipes: Mapping[str, Recipe] | None = None,
) -> dict[str, Result]:
    """Builds the images ``names`` (by default all), or finds them in ``cache``.

    - ``cache``: Jarvis' cache folder; an image lies in ``images/<digest of its recipe>``.
    - ``tools``: the executable of each built tool by name.
    - ``progress``: told one line as each image begins and ends.

    An image whose recipe has not changed is not built again. A build that was interrupted leaves nothing
    that a later one would take for an image; two at the same time wait for each other.

    Raises ``ImageError`` naming the image, what is wrong and what to do.
    """
    recipes = load_recipes() if recipes is None else recipes
    wanted = [name for name, recipe in recipes.items() if recipe.published] if names is None else names
    for name in wanted:
        if name not in recipes:
            raise ImageError(f"no image is called {name}; there are: {', '.join(sorted(recipes))}")
    return {name: _obtain(recipes[name], recipes, cache, tools, progress) for name in wanted}


def _obtain(
    recipe: Recipe, recipes: Mapping[str, Recipe], cache: Path, tools: Mapping[str, Path], progress: Progress
) -> Result:
    key = digest(recipe, recipes, tools)
    target = cache / "images" / key
    if (found := _read(target)) is not None:
        return found
    base = recipe.document.base
    below = None if base is None else _obtain(recipes[base], recipes, cache, tools, progress)
    with _locked(cache / "images" / f"{key}.lock"):
        if (found := _read(target)) is not None:
            return found
        progress(f"image {recipe.name}: building")
        started = time.monotonic()
        stage = Path(tempfile.mkdtemp(prefix=f".{recipe.name}.", dir=cache / "images"))
        try:
            result = _make(recipe, below, key, stage, cache, tools)
            shutil.rmtree(target, ignore_errors=True)
            (stage / "image").rename(target)
        except OSError as error:
            raise ImageError(f"image {recipe.name}: {error}") from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        size = sum(layer.size for layer in read_layers(target, result["digest"]))
        beside = ""
        if "extension" in result:
            beside = f", extension {result['extension']['size'] / 1e6:.1f} MB,"
        progress(f"image {recipe.name}: {size / 1e6:.1f} MB{beside} in {time.monotonic() - started:.1f} s")
        return _located(target, result)


def _make(
    recipe: Recipe, below: Result | None, key: str, stage: Path, cache: Path, tools: Mapping[str, Path]
) -> Result:
    """Makes the image in ``stage``/image, result.json included."""
    layout = stage / "image"
    blobs = blobs_of(layout)
    layers: list[Packed] = []
    if below is not None:
        layers = read_layers(Path(below["path"]), below["digest"])
        for layer in layers:
            _share(blob_path(Path(below["path"]), layer.digest), blob_path(layout, layer.digest))
    result = Result(recipe=key)
    tree, site = _tree(recipe, stage, cache, tools)
    if tree.entries:
        layers.append(pack(tree, blobs))
    document = recipe.document
    if site is not None and document.python is not None and document.python.option_namespaces:
        listing = list_options(recipe.name, site, document.python)
        (layout / "options.json").write_text(
            json.dumps(listing, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        result["options"] = "options.json"
    if site is not None and document.extension is not None:
        result["extension"] = pack_extension(recipe.name, document, site, layout / "extension.raw")
    result["digest"] = write_layout(layout, document.description, recipe.name, document.runtime, layers)
    (layout / _RESULT).write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def _tree(recipe: Recipe, stage: Path, cache: Path, tools: Mapping[str, Path]) -> tuple[Tree, Path | None]:
    """The files of the image's own layer, and where its wheels are installed, if there are any."""
    document = recipe.document
    tree = Tree()
    site = None
    if document.debian is not None:
        tree.merged_usr()
        made, packages = read_lock(recipe.texts[PACKAGES_LOCK])
        for deb in fetch(recipe.name, made, packages, cache):
            extract(tree, deb, document.debian.drop)
        _compile_debian(tree, stage / "debian")
    if document.python is not None:
        site = install(recipe.texts[REQUIREMENTS_LOCK], stage, document.python.source)
        for module in document.python.modules:
            (site / module).write_text(recipe.texts[module_text(module)], encoding="utf-8")
        compile_site(site, document.python.drop)
        add_wheels(tree, site, document.python.drop)
    for tool, path in document.tools.items():
        tree.file(path, tool_path(recipe.name, tool, tools), mode=0o755)
    for path in document.directories:
        tree.directory(path)
    for path, content in document.files.items():
        tree.text(path, content)
    for path, link in document.links.items():
        tree.link(path, link)
    if document.runtime is not None:
        user, name = document.runtime.user, document.runtime.name
        tree.text(
            "etc/passwd", f"root:x:0:0:root:/:/nonexistent\n{name}:x:{user}:{user}:{name}:/:/nonexistent\n"
        )
        tree.text("etc/group", f"root:x:0:\n{name}:x:{user}:\n")
        tree.directory("tmp", mode=0o1777)
    return tree, site


def _compile_debian(tree: Tree, stage: Path) -> None:
    """Adds the byte code that the scripts of Debian's Python packages would have made."""
    sources = [path for path in tree.entries if path.endswith(".py") and path.startswith("usr/lib/python3")]
    files = []
    for path in sources:
        content = tree.entries[path].content
        if not isinstance(content, bytes) or tree.entries[path].link:
            continue
        file = stage / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        files.append((file, f"/{path}"))
    compile_files(files)
    for compiled in sorted(stage.rglob("*.pyc")):
        tree.add(str(compiled.relative_to(stage)), Entry(content=compiled.read_bytes()))


def _read(target: Path) -> Result | None:
    try:
        result: Result = json.loads((target / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = all(blob_path(target, each.digest).is_file() for each in read_layers(target, result["digest"]))
    complete = complete and ("extension" not in result or (target / result["extension"]["path"]).is_file())
    return _located(target, result) if complete else None


def _located(target: Path, result: Result) -> Result:
    located = Result(path=str(target), digest=result["digest"], recipe=result["recipe"])
    if "options" in result:
        located["options"] = str(target / result["options"])
    if "extension" in result:
        packed = result["extension"]
        located["extension"] = {**packed, "path": str(target / packed["path"])}
    return located


def _share(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
