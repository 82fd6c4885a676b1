"""``python -m images [NAME…]`` builds images; ``python -m images lock [NAME…]`` makes their locks anew."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from images.builder import build
from images.errors import ImageError
from images.locking import lock
from images.recipe import load_recipes

PROJECT = Path(__file__).resolve().parents[1]


def main(words: list[str]) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m images", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="images (all, when none is named)")
    parser.add_argument("--cache", type=Path, default=_cache(), help="Jarvis' cache folder")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=PATH", help="a built tool")
    locking = words[:1] == ["lock"]
    if locking:
        parser.add_argument("--keep", action="store_true", help="leave the versions of wheels that fit still")
    arguments = parser.parse_args(words[1:] if locking else words)
    started = time.monotonic()

    def progress(line: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {line}", flush=True)

    try:
        if locking:
            lock(arguments.names, arguments.cache, progress, keep=arguments.keep)
            return 0
        tools = {name: Path(path) for name, _, path in (each.partition("=") for each in arguments.tool)}
        tools = {**_built_tools(), **tools}
        for name, result in build(arguments.cache, tools, arguments.names or None, progress).items():
            progress(f"{name}: {result['digest']}  {result['path']}")
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jarvis"


def _built_tools() -> dict[str, Path]:
    """The tools that recipes name, where `make artifacts` or PATH has them."""
    path = f"{PROJECT / '.jarvis' / 'bin'}:{os.environ.get('PATH', '')}"
    names = {tool for recipe in load_recipes().values() for tool in recipe.document.tools}
    found = {name: shutil.which(name, path=path) for name in names}
    return {name: Path(each) for name, each in found.items() if each is not None}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
