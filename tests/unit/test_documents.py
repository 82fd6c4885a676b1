"""What documents name is there: links, headings, files, targets of make, modules."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")])
# What stands at the top of the checkout and is committed: a path in a document that begins so is one of ours.
FOLDERS = ("docs", "images", "jarvis", "lab", "stacks", "tests", "toolchain")


def names(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def anchors(path: Path) -> set[str]:
    """The headings of a document, as GitHub makes anchors of them."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


def links(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Each link to another place of the checkout: as written, its file, its anchor or an empty text."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            yield target, (path.parent / file).resolve() if file else path, anchor


@pytest.mark.parametrize("path", DOCUMENTS, ids=names)
def test_a_link_leads_somewhere(path: Path) -> None:
    broken = [
        target
        for target, file, anchor in links(path)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=names)
def test_a_file_that_is_named_is_there(path: Path) -> None:
    words = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]+)`", path.read_text(encoding="utf-8"))
    assert [word for word in words if not list(PROJECT.glob(word.rstrip("/")))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=names)
def test_a_target_of_make_is_there(path: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^ {4,}|`)make ((?:[a-z-]+ ?)+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [word for words in named for word in words.split() if word not in known] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=names)
def test_a_module_that_is_run_is_there(path: Path) -> None:
    named = re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", path.read_text(encoding="utf-8"))
    assert [name for name in named if importlib.util.find_spec(name) is None] == []


def test_the_tests_above_see_what_they_look_for() -> None:
    readme = PROJECT / "README.md"
    assert len(list(links(readme))) > 5
    assert "two-commands" in anchors(readme)
    assert len(DOCUMENTS) > 40


# What Jarvis passes on: sudo's, gRPC's, and those of Pulumi's engine.
FOREIGN = {
    "sudo: a password is required",
    "sudo: command not found",
    "failed to connect to all addresses",
    "… cannot be deleted because it is protected",
    "the stack is currently locked",
}


def test_a_message_that_operators_look_up_is_one_of_ours() -> None:
    document = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    table = document.partition("\n## Messages\n")[2].partition("\n## ")[0]
    messages = {
        message
        for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
        for message in re.findall(r"`([^`]+)`", row)
    }
    assert messages >= FOREIGN
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("jarvis", "stacks", "toolchain")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".sh")
    ]
    # A sentence that Python has in several pieces is one.
    said = re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))
    parts = [
        (message, part.strip())
        for message in sorted(messages - FOREIGN)
        # The name of a stack's file is put in whole.
        for part in re.split(r"(?:Pulumi\.)?…s?(?:\.yaml| mistakes)?|[:;] |'", message)
    ]
    assert [(message, part) for message, part in parts if len(part) > 3 and part not in said] == []
