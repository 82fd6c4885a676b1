"""A publisher on loopback, a small tool, and a resolver with a cache of its own."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from publisher import Publisher, serving

from toolchain.fetch import Fetcher
from toolchain.gobuild import Builder
from toolchain.mirror import Mirror
from toolchain.model import Tool
from toolchain.resolver import Resolver
from toolchain.store import Store

# Short, so that a test of a silent server is short too; loopback answers in far less.
PATIENCE = 1.0


def script(version: str) -> bytes:
    """A program that prints its version."""
    return f"#!/bin/sh\necho hello version {version}\n".encode()


def archive(members: dict[str, bytes]) -> bytes:
    """A .tar.gz with the files ``members``."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serving() as made:
        yield made


@pytest.fixture
def go_folder(tmp_path: Path) -> Path:
    """A Go recipe that needs nothing but the standard library, so that it builds without a network."""
    folder = tmp_path / "go" / "hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module hello\n\ngo 1.20\n")
    (folder / "main.go").write_text(
        'package main\n\nvar version = "?"\n\nfunc main() { println("hello version", version) }\n'
    )
    return folder.parent


@pytest.fixture
def tool(publisher: Publisher, go_folder: Path) -> Tool:
    """A tool of one file that every kind of source but the wheel can give."""
    return Tool.model_validate(
        {
            "name": "hello",
            "version": "1.2.3",
            "use": "operator",
            "files": ["hello"],
            "sources": ["path", "mirror", "official", "go"],
            "probe": {"hello": ["--version"]},
            "official": [
                {
                    "url": f"{publisher.address}/v{{version}}/hello.tar.gz",
                    "sums": f"{publisher.address}/v{{version}}/hello.tar.gz.sha256",
                    "members": {"hello": "dist/hello"},
                }
            ],
            "go": [
                {
                    "folder": "hello",
                    "packages": {"hello": "."},
                    "ldflags": ["-X main.version=v{version}"],
                }
            ],
            "root": go_folder,
        }
    )


@pytest.fixture
def released(publisher: Publisher) -> str:
    """The path of the official release that ``publisher`` serves."""
    path = "/v1.2.3/hello.tar.gz"
    publisher.publish(path, archive({"dist/hello": script("1.2.3")}))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture(scope="session")
def go_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build cache for all tests: the standard library is compiled once."""
    return tmp_path_factory.mktemp("go-cache")


@pytest.fixture
def go_environment() -> dict[str, str]:
    """The environment of an offline Go build: a module that is asked for is an error."""
    return {**os.environ, "GOPROXY": "off"}


@pytest.fixture
def real_go() -> Path:
    """The Go of this machine: on PATH, or from the toolchain's own cache after `make tools`."""
    found = shutil.which("go")
    if found:
        return Path(found)
    from toolchain.model import load_lock
    from toolchain.store import cache_root

    lock = load_lock()["go"]
    return Store(cache_root()).files(lock)["bin/go"]


@pytest.fixture
def lines() -> list[str]:
    """The progress that resolvers of this test told."""
    return []


@pytest.fixture
def resolver(
    lines: list[str], go_cache: Path, go_environment: dict[str, str], real_go: Path
) -> Callable[..., Resolver]:
    """Makes a resolver for a store: with an empty PATH and no mirror unless given."""

    def make(store: Store, mirror: str | None = None, path: str = "", **more: Any) -> Resolver:
        fetcher = Fetcher(connect=PATIENCE, stall=PATIENCE)
        builder = Builder(go_cache, more.pop("go", real_go), go_environment)
        where = Mirror(mirror, fetcher) if mirror else None
        return Resolver(
            store, lines.append, fetcher=fetcher, mirror=where, path=path, builder=builder, **more
        )

    return make
