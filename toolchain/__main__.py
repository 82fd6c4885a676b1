"""``python -m toolchain``: obtains the pinned tools and builds what travels to the servers.

install    every tool, the operator's linked into .jarvis/bin; chooses the Pulumi plugins
artifacts  the host release and the container images, listed in .jarvis/artifacts.json
mirror     writes all of that to a folder that another machine uses through JARVIS_MIRROR
status     which tool is there, and where from
times      the seconds that each tool took to obtain when it was not cached, as JSON
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain import artifacts, links, plugin_choice
from toolchain.errors import ToolchainError
from toolchain.fetch import Fetcher
from toolchain.mirror import Mirror, write_mirror
from toolchain.model import PROJECT, Tool, load_lock
from toolchain.resolver import Progress, Resolver
from toolchain.sources import mirror_name
from toolchain.store import Resolved, Store, cache_root

# Beside the tools that operators use daily: for a look into a server's containers.
_ALSO_LINKED = ("ctr",)


class Session:
    """One run of the command: ``state`` is the checkout's folder .jarvis, ``store`` the cache."""

    def __init__(self, store: Store, state: Path, progress: Progress) -> None:
        self.tools = load_lock()
        self.store = store
        self.state = state
        self.bin = state / "bin"
        self.progress = progress
        self.fetcher = Fetcher()
        self.source = Mirror.from_environment(self.fetcher)

    def obtain(self) -> dict[str, Resolved]:
        """Every tool, from the cache or the first source that has it. Raises ``ToolchainError``."""
        resolver = Resolver(
            self.store,
            self.progress,
            fetcher=self.fetcher,
            mirror=self.source,
            ignore=[self.bin],
        )
        wanted = [tool for tool in self.tools.values() if tool.use != "build"]
        return resolver.resolve(wanted, self.tools["go"])

    def install(self) -> None:
        """All tools, links to the operator's, and the choice of plugins."""
        self.obtain()
        files = self.files()
        names = {
            file for tool in self.tools.values() if tool.use in ("operator", "both") for file in tool.files
        }
        links.link(self.bin, {name: files[name] for name in sorted({*names, *_ALSO_LINKED})})
        home = Path(os.environ.get("PULUMI_HOME") or self.state / "pulumi")
        choice = plugin_choice.choose(files["pulumi"], home, self.bin, fetcher=self.fetcher)
        plugin_choice.apply(choice, self.bin, Path(sys.executable), PROJECT)
        self.progress(str(choice))

    def artifacts(self) -> dict[str, Any]:
        """The host release and the images; writes ``artifacts.json``."""
        found = self.obtain()
        document = artifacts.build_artifacts(
            self.store, self.tools, found, self.files(), self.source, self.progress
        )
        artifacts.write_list(document, self.state / "artifacts.json")
        return document

    def mirror(self, folder: Path) -> None:
        """Writes tools, release and images to the mirror ``folder``."""
        found = self.obtain()
        trees: dict[str, Path] = {}
        for tool in self.tools.values():
            if tool.name in found or self.store.find(tool):
                trees[mirror_name(tool)] = self.store.folder(tool)
        for name, image in self.artifacts()["images"].items():
            trees[artifacts.image_name(name, image["recipe"])] = Path(image["path"])
        write_mirror(folder, trees, self.progress)
        self.progress(f"mirror: {folder} is complete. On another machine: JARVIS_MIRROR={folder} make up")

    def files(self) -> dict[str, Path]:
        """Every file of every cached tool by name."""
        cached = [tool for tool in self.tools.values() if tool.use != "build" and self.store.find(tool)]
        return {name: file for tool in cached for name, file in self.store.files(tool).items()}

    def records(self) -> dict[str, Resolved | None]:
        """What is cached, by tool."""
        return {name: self.store.find(tool) for name, tool in self.tools.items()}


def status(tools: Mapping[str, Tool], records: Mapping[str, Resolved | None]) -> str:
    """A table of the tools."""
    lines = []
    for name, tool in tools.items():
        record = records[name]
        if record is None:
            where = "used only to build" if tool.use == "build" else "missing; type: make tools"
        else:
            where = f"{record.detail}, {record.seconds:.1f} s"
        lines.append(f"{name:<12} {tool.version:<10} {where}")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m toolchain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, default=PROJECT / ".jarvis", help="the checkout's .jarvis")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "artifacts", "status", "times"):
        commands.add_parser(name)
    commands.add_parser("mirror").add_argument("folder", type=Path)
    arguments = parser.parse_args(words)
    started = time.monotonic()

    def progress(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {line}", flush=True)

    # Ended politely, the builds that it started end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        session = Session(Store(cache_root()), arguments.state.resolve(), progress)
        if arguments.command == "install":
            session.install()
        elif arguments.command == "artifacts":
            session.artifacts()
        elif arguments.command == "mirror":
            session.mirror(arguments.folder.resolve())
        elif arguments.command == "status":
            print(status(session.tools, session.records()))
        else:
            known = {name: record for name, record in session.records().items() if record}
            times = {
                n: {"seconds": r.seconds, "source": r.source, "version": r.version} for n, r in known.items()
            }
            print(json.dumps(times, indent=1))
    except ToolchainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with what is missing", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
