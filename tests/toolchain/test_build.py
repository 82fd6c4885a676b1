"""Building from source: what a failure says, what is shared, the order, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.errors import ToolchainError
from toolchain.model import PROJECT, Tool
from toolchain.resolver import Resolver, Slots
from toolchain.store import Store

Make = Callable[..., Resolver]


def from_go(tool: Tool, **update: object) -> Tool:
    return tool.model_copy(update={"sources": ["go"], **update})


def test_failed_build_names_tool_log_and_what_to_do(tool: Tool, store: Store, resolver: Make) -> None:
    (tool.root / "hello" / "main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(ToolchainError) as caught:
        resolver(store).resolve([from_go(tool)])
    text, log = str(caught.value), store.log(tool)
    assert "hello 1.2.3 could not be obtained" in text
    assert "undefined: undefinedThing" in text
    assert f"look into {log}; then type the same command again" in text
    assert "undefined: undefinedThing" in log.read_text()


def test_module_that_is_not_in_go_sum_is_refused(tool: Tool, store: Store, resolver: Make) -> None:
    (tool.root / "hello" / "main.go").write_text(
        'package main\n\nimport _ "example.com/unknown"\n\nfunc main() {}\n'
    )
    with pytest.raises(ToolchainError, match=r"example\.com/unknown"):
        resolver(store).resolve([from_go(tool)])
    assert (tool.root / "hello" / "go.mod").read_text() == "module hello\n\ngo 1.20\n"


def test_failed_build_does_not_stop_the_others(
    tool: Tool, store: Store, resolver: Make, tmp_path: Path
) -> None:
    broken = from_go(tool, name="broken", root=tmp_path / "broken")
    (broken.root / "hello").mkdir(parents=True)
    (broken.root / "hello" / "go.mod").write_text("module hello\n\ngo 1.20\n")
    with pytest.raises(ToolchainError) as caught:
        resolver(store).resolve([broken, from_go(tool)])
    assert "broken 1.2.3 could not be obtained" in str(caught.value)
    assert "hello 1.2.3" not in str(caught.value)
    assert store.find(from_go(tool)) is not None


def test_no_go_is_an_error_that_says_so(tool: Tool, store: Store, resolver: Make) -> None:
    with pytest.raises(ToolchainError, match="there is no Go to build with"):
        resolver(store, go=None).resolve([from_go(tool)])


def go_tool(minimum: str) -> Tool:
    return Tool.model_validate(
        {
            "name": "go",
            "version": minimum,
            "use": "build",
            "files": ["bin/go"],
            "sources": ["path"],
            "path": {"minimum": minimum, "in_place": True},
            "probe": {"bin/go": ["version"]},
        }
    )


def test_go_on_path_that_is_new_enough_is_used(
    tool: Tool, store: Store, resolver: Make, real_go: Path
) -> None:
    made = resolver(store, go=None, path=str(real_go.parent))
    assert made.resolve([from_go(tool)], go_tool("1.20.1"))["hello"].source == "go"


def test_go_on_path_that_is_too_old_is_not_used(
    tool: Tool, store: Store, resolver: Make, real_go: Path
) -> None:
    made = resolver(store, go=None, path=str(real_go.parent))
    with pytest.raises(ToolchainError, match="go is another version"):
        made.resolve([from_go(tool)], go_tool("99.1"))


def test_second_checkout_builds_nothing_again(
    tool: Tool, store: Store, resolver: Make, tmp_path: Path, lines: list[str]
) -> None:
    resolver(store).resolve([from_go(tool)])
    another = tmp_path / "another checkout"
    (tool.root).rename(another)
    lines.clear()
    moved = from_go(tool, root=another)
    assert resolver(Store(store.root)).resolve([moved])["hello"].source == "go"
    assert lines == []


def test_changed_recipe_is_built_again(tool: Tool, store: Store, resolver: Make) -> None:
    resolver(store).resolve([from_go(tool)])
    before = tool.digest
    main = tool.root / "hello" / "main.go"
    main.write_text(main.read_text() + "\n// changed\n")
    assert tool.digest != before
    assert store.find(tool) is None
    resolver(store).resolve([from_go(tool)])
    assert store.find(tool) is not None


def test_another_address_of_a_release_is_the_same_tool(tool: Tool) -> None:
    moved = tool.official[0].model_copy(update={"url": "https://example.com/hello.tar.gz"})
    assert tool.model_copy(update={"official": [moved]}).digest == tool.digest
    assert tool.model_copy(update={"version": "1.2.4"}).digest != tool.digest


def test_longest_build_goes_first() -> None:
    slots, order, inside = Slots(1, 3, patience=60), [], threading.Barrier(1)

    def work(weight: float) -> None:
        slots.arrived()
        with slots.hold(weight):
            order.append(weight)
            inside.wait()

    threads = [threading.Thread(target=work, args=(weight,)) for weight in (1.0, 18.0, 8.0)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert order[-1] == 1.0
    assert order == sorted(order, reverse=True)


def test_light_builds_run_beside_the_heaviest() -> None:
    slots, both = Slots(2, 2, patience=60), threading.Barrier(2, timeout=30)

    def work(weight: float) -> None:
        slots.arrived()
        with slots.hold(weight):
            both.wait()

    threads = [threading.Thread(target=work, args=(weight,)) for weight in (8.0, 1.0)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not both.broken


def test_slots_never_let_more_in_than_there_are() -> None:
    slots, guard, inside, most = Slots(2, 0), threading.Lock(), [0], [0]

    def work() -> None:
        with slots.hold(1.0):
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert 1 <= most[0] <= 2


# Run as a program of its own, since it gets a signal: resolves one tool whose "Go" is a program that waits.
_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {project!r})
from toolchain.gobuild import Builder
from toolchain.model import Tool
from toolchain.resolver import Resolver
from toolchain.store import Store
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
# A shell that starts the tests in the background has SIGINT ignored, which children inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
store = Store(Path({store!r}))
tool = Tool.model_validate_json({tool!r})
Resolver(store, path="", builder=Builder(store.root / "go", Path({go!r}))).resolve([tool])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_interrupted_build_is_begun_anew(
    number: signal.Signals, tool: Tool, store: Store, resolver: Make, tmp_path: Path
) -> None:
    tool = from_go(tool)
    started = tmp_path / "started"
    os.mkfifo(started)
    go = tmp_path / "go-that-waits"
    go.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 1000\n")
    go.chmod(0o755)
    text = _CHILD.format(project=str(PROJECT), store=str(store.root), tool=tool.model_dump_json(), go=str(go))
    child = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.DEVNULL)
    build = int(started.read_text())  # waits until the build runs
    child.send_signal(number)
    assert child.wait() != 0
    if number is signal.SIGKILL:
        os.kill(build, signal.SIGTERM)  # nobody is left to end it
    else:
        assert not Path(f"/proc/{build}").exists() or _is_zombie(build)
    assert store.find(tool) is None
    assert resolver(store).resolve([tool])["hello"].source == "go"
    assert [each.name for each in store.folder(tool).parent.glob("*.tmp-*")] == []


def _is_zombie(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
