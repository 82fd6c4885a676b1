"""What an image is made of: ``images/<name>/recipe.toml``, its parts, and the locks beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from images.errors import ImageError
from images.parts import SHARED, read_merged

RECIPES = Path(__file__).resolve().parent
PACKAGES_LOCK = "packages.lock"
REQUIREMENTS = "requirements.in"
REQUIREMENTS_LOCK = "requirements.txt"
# The modules whose code decides what a recipe becomes. Their text is part of every recipe's digest: an
# image is built anew after they change, and has the same digest again where the change was of no effect.
_CODE = (
    "builder.py",
    "bytecode.py",
    "bytecode_worker.py",
    "debian.py",
    "extension.py",
    "layer.py",
    "layout.py",
    "options.py",
    "options_worker.py",
    "squashfs.py",
    "wheels.py",
)


class Section(BaseModel):
    """A table of a recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Debian(Section):
    """Debian packages, extracted without running their scripts.

    - ``packages``: what the image needs; with their dependencies they are in ``packages.lock``.
    - ``without``: dependencies that only a package's scripts need, and their dependencies in turn.
    - ``drop``: globs of paths that are left out, beside documentation and translations.
    """

    packages: list[str] = Field(min_length=1)
    without: list[str] = []
    drop: list[str] = []


class Python(Section):
    """Python wheels, installed below ``/opt/openstack`` from ``requirements.txt``.

    - ``drop``: globs, relative to the site-packages, of what is left out.
    - ``modules``: our own, files of ``images/openstack``, beside the wheels.
    - ``source``: packages that have no wheel and are built from their source, by the build tools of the lock.
    - ``option_namespaces``: the ``oslo.config.opts`` entry points whose options the service reads.
    - ``option_groups``: by a group that the service reads, the one under which its options are listed.
    - ``password_groups``: groups by which the service logs in to Keystone with a password.
    - ``stubs``: modules that the list's code imports, are not installed, and whose absence it does not bear.
    """

    drop: list[str] = []
    modules: list[str] = []
    source: list[str] = []
    option_namespaces: list[str] = []
    option_groups: dict[str, str] = {}
    password_groups: list[str] = []
    stubs: list[str] = []


class Extension(Section):
    """The same wheels as a system extension for servers (``images.extension``), packed beside the image.

    - ``dist_packages``: files of Debian's packages for Python on the server, linked beside the wheels.
    """

    dist_packages: list[str] = []


class Runtime(Section):
    """How a container of the image runs: see the OCI image specification, "config".

    ``user`` is a numeric user and group id, never 0. ``ports`` are TCP ports.
    """

    user: int = Field(ge=1, le=65535)
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="name of that user")
    environment: dict[str, str] = {}
    entrypoint: list[str] = []
    command: list[str] = []
    ports: list[int] = []
    directory: str = "/"
    stop_signal: str | None = Field(default=None, pattern=r"^SIG[A-Z0-9]+$")


class Document(Section):
    """The whole of ``recipe.toml``, merged with its parts (``images.parts``).

    - ``deployed``: whether a component runs the image: one that none does is built where it is named alone.
    - ``base``: name of the recipe whose layers lie below.
    - ``tools``: path in the image by name of a built tool (``toolchain/`` builds them).
    - ``directories``: empty directories, to mount volumes on.
    - ``files``: content by path.
    - ``links``: target by path of a symbolic link.
    """

    description: str
    deployed: bool = True
    base: str | None = None
    debian: Debian | None = None
    python: Python | None = None
    tools: dict[str, str] = {}
    directories: list[str] = []
    files: dict[str, str] = {}
    links: dict[str, str] = {}
    runtime: Runtime | None = None
    extension: Extension | None = None

    @model_validator(mode="after")
    def _wheels_for_servers(self) -> Self:
        if self.extension is not None and self.python is None:
            raise ValueError("an extension has the wheels of [python], which is missing")
        return self


class Recipe(BaseModel):
    """A recipe as it was read: its name, its document, the text of each of its locks and modules."""

    model_config = ConfigDict(frozen=True)
    name: str
    document: Document
    texts: dict[str, str]

    @property
    def published(self) -> bool:
        """Whether this is an image that is deployed, rather than a base for others or one to come."""
        return self.document.runtime is not None and self.document.deployed


def load_recipes(folder: Path = RECIPES) -> dict[str, Recipe]:
    """Every recipe of ``folder`` by name.

    Raises ``ImageError`` naming the file that is not a recipe, or a lock that is missing.
    """
    recipes: dict[str, Recipe] = {}
    for file in sorted(folder.glob("*/recipe.toml")):
        name = file.parent.name
        document = read_document(file)
        wanted = [PACKAGES_LOCK] if document.debian else []
        wanted += [REQUIREMENTS_LOCK] if document.python else []
        wanted += [module_text(each) for each in document.python.modules] if document.python else []
        texts = {}
        for each in wanted:
            if not (file.parent / each).is_file():
                remedy = "" if each.startswith("../") else f"; type: python -m images lock {name}"
                raise ImageError(f"image {name}: {file.parent / each} is missing{remedy}")
            texts[each] = (file.parent / each).read_text(encoding="utf-8")
        recipes[name] = Recipe(name=name, document=document, texts=texts)
    for recipe in recipes.values():
        if recipe.document.base is not None and recipe.document.base not in recipes:
            raise ImageError(
                f"image {recipe.name}: its base {recipe.document.base} is not a recipe of {folder}"
            )
    return recipes


def module_text(module: str) -> str:
    """The name of the text of ``module``, which is its path relative to a recipe."""
    return f"../{SHARED}/{module}"


def read_document(file: Path) -> Document:
    """A recipe without its locks. Raises ``ImageError`` saying which of its keys is wrong."""
    try:
        return Document.model_validate(read_merged(file))
    except ValidationError as error:
        raise ImageError(f"image {file.parent.name}: {file} is not a recipe: {error}") from None


def digest(recipe: Recipe, recipes: Mapping[str, Recipe], tools: Mapping[str, Path]) -> str:
    """The digest of all that decides what the image contains: 64 hexadecimal digits.

    It covers the recipe as merged, its locks, those of its base, the built tools it holds (by content) and
    the code of the builder; not the machine, the time, any path, or how the recipe is written.

    Raises ``ImageError`` for a tool that is not there.
    """
    total = hashlib.sha256()

    def add(label: str, content: bytes) -> None:
        total.update(f"{label} {len(content)}\n".encode())
        total.update(content)

    for module in _CODE:
        add(f"code {module}", _code(module))
    document = recipe.document.model_dump(mode="json", exclude={"deployed"})
    add("recipe", json.dumps(document, sort_keys=True).encode())
    for file, text in sorted(recipe.texts.items()):
        add(f"file {file}", text.encode())
    for tool in sorted(recipe.document.tools):
        add(f"tool {tool}", file_digest(tool_path(recipe.name, tool, tools)).encode())
    if recipe.document.base is not None:
        add("base", digest(recipes[recipe.document.base], recipes, tools).encode())
    return total.hexdigest()


def tool_path(image: str, tool: str, tools: Mapping[str, Path]) -> Path:
    """Where the built ``tool`` lies. Raises ``ImageError`` when it was not built."""
    path = tools.get(tool)
    if path is None or not path.is_file():
        where = f" ({path} is missing)" if path is not None else ""
        raise ImageError(
            f"image {image} needs the tool {tool}, which is not built{where}; type: make artifacts"
        )
    return path


def file_digest(path: Path) -> str:
    """The sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _code(module: str) -> bytes:
    return (RECIPES / module).read_bytes()
