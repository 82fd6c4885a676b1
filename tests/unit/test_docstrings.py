"""Docstrings name the arguments and fields that there are; their form is for ruff to check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Programs of servers have no such lists.
FILES = sorted(one for one in ROOT.glob("jarvis/**/*.py") if not one.is_relative_to(ROOT / "jarvis/host"))


def listed(docstring: str, section: str) -> list[str] | None:
    """The names in a ``section`` of ``docstring`` in Google's form; ``None`` where it has no such section."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    return re.findall(r"^    \*{0,2}(\w+):", found[1], re.MULTILINE) if found else None


def arguments(of: ast.AST) -> set[str]:
    """The names of a function's arguments, or of those of a class's own ``__init__``."""
    if isinstance(of, ast.ClassDef):
        return set().union(*(arguments(one) for one in of.body if getattr(one, "name", "") == "__init__"))
    assert isinstance(of, ast.FunctionDef | ast.AsyncFunctionDef)
    its = of.args
    every = (*its.posonlyargs, *its.args, *its.kwonlyargs, its.vararg, its.kwarg)
    return {one.arg for one in every if one is not None}


def attributes(of: ast.ClassDef) -> set[str]:
    """What is declared in a class, and what its methods set or read of ``self``."""
    declared = {one.target for one in of.body if isinstance(one, ast.AnnAssign)}
    names = {one.id for one in declared if isinstance(one, ast.Name)}
    return names | {
        each.attr
        for each in ast.walk(of)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self"
    }


def fields(of: ast.ClassDef) -> set[str]:
    """The public fields of a dataclass; none of another class."""
    if not any("dataclass" in ast.unparse(each) for each in of.decorator_list):
        return set()
    targets = (one.target for one in of.body if isinstance(one, ast.AnnAssign))
    return {one.id for one in targets if isinstance(one, ast.Name) and not one.id.startswith("_")}


def mistakes(text: str) -> Iterator[str]:
    """What the lists in docstrings of ``text`` name that is not there, and the fields that they leave out."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        told = ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            named = listed(told, "Attributes")
            if named is not None:
                yield from (f"{node.name} has no {name}" for name in named if name not in attributes(node))
                yield from (f"{node.name} leaves out {name}" for name in sorted(fields(node) - {*named}))
        yield from (
            f"{node.name} takes no {name}"
            for name in listed(told, "Args") or ()
            if name not in arguments(node)
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_name_what_there_is(file: Path) -> None:
    assert list(mistakes(file.read_text(encoding="utf-8"))) == []


def test_a_docstring_that_names_something_else_is_found() -> None:
    text = '''
@dataclass(frozen=True)
class Opening:
    """An opening.

    Attributes:
        port: of TCP, such as
            first: 22.
        sourcs: who may come.
    """

    port: int
    sources: list[str]

def close(opening, *others):
    """Closes it.

    Args:
        opening: what.
        *others: more.
        hard: at once.

    Raises:
        ValueError: it is closed.
    """
'''
    assert list(mistakes(text)) == [
        "Opening has no sourcs",
        "Opening leaves out sources",
        "close takes no hard",
    ]
