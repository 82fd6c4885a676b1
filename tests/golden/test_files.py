"""Which resources change when a file or a module of Jarvis changes that goes to servers or into pods.

Reviewed by a person, as the graphs are. Write it anew with: make golden
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jarvis.core import text
from jarvis.remote import program
from jarvis.remote.script import FILES, read_file
from stacks.cloud import build
from tests.golden.test_golden import PROJECT, artifacts, environment_of, graph_of
from tests.unit.harness import Graph, record

GOLDEN = Path(__file__).parent / "files.yaml"
JARVIS = PROJECT / "jarvis"
STACK = "dev"
# Of no resource: one is for editors, two are questions that a preview asks, one is run where a service is
# turned off (tests/unit/test_services.py), and the last where a role asks for more than any server has, which
# no role does today (tests/unit/test_roles.py).
OTHERS = {
    "config/environment.schema.json",
    "drift/observe.sh",
    "drift/objects.sh",
    "openstack/build/tasks/unregister.py",
    "hosts/preflight-roles.sh",
}


def deployed_files() -> list[str]:
    """Every file below ``jarvis/`` whose text is deployed, by its path there."""
    found = {
        str(path.relative_to(JARVIS))
        for path in JARVIS.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix != ".py" or path.parent.name == "tasks")
        and path.name != "__init__.py"
    }
    modules = {str(path.relative_to(JARVIS)) for path in (JARVIS / "host").rglob("*.py")}
    return sorted(found - OTHERS | modules)


DEPLOYED = deployed_files()


def mark(file: str) -> str:
    """A line that every kind of file has as a comment."""
    return f"# {file} has changed\n"


def graph_with(changed: list[str], folder: Path) -> Graph:
    """The stack's graph where each file of ``changed`` ends with its mark."""
    marked = {JARVIS / file: mark(file) for file in changed}
    read = Path.read_text

    def read_marked(path: Path, encoding: str | None = None, errors: str | None = None) -> str:
        return read(path, encoding, errors) + marked.get(path, "")

    caches = (text._read, read_file, program.program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        patch.setattr(Path, "read_text", read_marked)
        patch.setattr(program, "SHIPPED", folder / "shipped")
        try:
            for cache in caches:
                cache.cache_clear()
            env = environment_of(STACK, folder)
            return record(lambda: build(env, artifacts()), STACK)
        finally:
            for cache in caches:
                cache.cache_clear()


def differing(one: Graph, other: Graph) -> set[str]:
    """The labels of the resources that have other inputs, or are in one of the graphs alone."""
    labels = one.resources.keys() | other.resources.keys()
    return {
        label
        for label in labels
        if label not in one.resources
        or label not in other.resources
        or told(one, label) != told(other, label)
    }


def told(graph: Graph, label: str) -> str:
    """The inputs of a resource; of a folder that is shipped its name, a digest, and not its place."""
    return re.sub(r'"[^"]*/shipped/', '"', json.dumps(graph.resources[label].inputs, sort_keys=True))


class Effects:
    """What changes with each file: ``of[file]``, as labels; and with all files at once."""

    def __init__(self, folder: Path) -> None:
        before = graph_of(STACK, folder)
        after = graph_with(DEPLOYED, folder)
        self.all = differing(before, after)
        inputs = {label: told(after, label) for label in self.all}
        copies = {label for label in self.all if label.startswith("command:remote:CopyToRemote")}
        self.of: dict[str, set[str]] = {}
        for file in DEPLOYED:
            whole = (JARVIS / file).read_text() + mark(file)
            signs = (json.dumps(mark(file))[1:-1], hashlib.sha256(whole.encode()).hexdigest())
            found = {label for label, given in inputs.items() if any(sign in given for sign in signs)}
            # Pods follow a text by a digest of their own making, which does not tell of what it is.
            if any(label.startswith("kubernetes:") for label in found):
                found = differing(before, graph_with([file], folder))
            # The copy that a server has of all that is shipped is known by one digest.
            shipped = (JARVIS / file).is_relative_to(FILES) or file.startswith("host/")
            self.of[file] = found | (copies if shipped else set())


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Effects]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        yield Effects(tmp_path_factory.mktemp("files"))


def short(labels: set[str], folder: Path) -> list[str]:
    """``labels`` with a ``*`` for the name of a server."""
    names = [server.name for server in environment_of(STACK, folder).servers]
    found = set()
    for label in labels:
        for name in names:
            label = label.replace(name, "*")
        found.add(label)
    return sorted(found)


def test_each_file_changes_the_resources_that_were_reviewed(effects: Effects, tmp_path: Path) -> None:
    found = {file: short(labels, tmp_path) for file, labels in effects.of.items()}
    if os.environ.get("JARVIS_GOLDEN") == "write":
        head = "# What changes with each file of jarvis/ that is deployed; * is each server that has it.\n"
        GOLDEN.write_text(head + yaml.safe_dump(found, width=110))
    assert found == yaml.safe_load(GOLDEN.read_text())


def test_nothing_else_changes_with_all_of_them(effects: Effects) -> None:
    assert effects.all == set().union(*effects.of.values())


@pytest.mark.parametrize("file", [file for file in DEPLOYED if file.startswith(("files/", "host/"))])
def test_what_is_shipped_is_named_by_a_role(effects: Effects, file: str) -> None:
    """All else would change the copy that each server has, for nothing."""
    assert [label for label in effects.of[file] if label.startswith("command:remote:Command ")]


@pytest.mark.parametrize("file", ["gateway/haproxy.cfg", "kubernetes/kubelet.service", "hosts/preflight.sh"])
def test_what_is_not_shipped_leaves_the_copy_as_it_is(file: str, tmp_path: Path) -> None:
    """Seen by the graph with that one file changed."""
    changed = differing(graph_of(STACK, tmp_path), graph_with([file], tmp_path))
    assert changed
    assert not [label for label in changed if label.startswith("command:remote:CopyToRemote")]
