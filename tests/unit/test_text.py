"""The template function: what it puts where, and what it refuses."""

from __future__ import annotations

import pytest

from jarvis.core import text
from jarvis.core.text import fill, fill_beside, read_beside


def test_each_placeholder_becomes_its_value() -> None:
    assert fill("a @ONE@ @@TWO@ @ONE@\n", "x.cfg", one="1", two="set") == "a 1 @set 1\n"


def test_a_value_that_looks_like_a_placeholder_stays() -> None:
    assert fill("@ONE@ @TWO@", "x.cfg", one="@TWO@", two="\\g<0>") == "@TWO@ \\g<0>"


def test_values_of_several_lines_are_said_to_be() -> None:
    assert fill("[\n@ROWS@\n]", "x.cfg", lines={"rows": "1\n2"}) == "[\n1\n2\n]"


@pytest.mark.parametrize("value", ["1\n2", "1\n", "1\r", "1\r\n2", "1\u2028", "1\x0b2", "\n"])
def test_a_line_break_in_a_word_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"x\.cfg: the value of one is one line"):
        fill("@ONE@", "x.cfg", one=value)


@pytest.mark.parametrize(
    ("template", "words", "lines", "problem"),
    [
        pytest.param("@ONE@ @TWO@", {"one": "1"}, {}, "no value for TWO", id="without a value"),
        pytest.param("@ONE@", {"one": "1", "two": "2"}, {}, "no place for TWO", id="word without a place"),
        pytest.param("@ONE@", {"one": "1"}, {"two": "2"}, "no place for TWO", id="lines without a place"),
        pytest.param("one", {"one": "1"}, {}, "no place for ONE", id="not a placeholder"),
        pytest.param("@ONE@", {"one": "1"}, {"one": "2"}, "as a word and as lines: one", id="given twice"),
    ],
)
def test_what_does_not_fit_is_refused(
    template: str, words: dict[str, str], lines: dict[str, str], problem: str
) -> None:
    with pytest.raises(ValueError, match=rf"x\.cfg: .*{problem}"):
        fill(template, "x.cfg", lines, **words)


def test_a_template_is_found_beside_its_module_and_named_in_errors() -> None:
    assert read_beside(text.__file__, "text.py").startswith('"""Texts that stand in files')
    with pytest.raises(FileNotFoundError):
        read_beside(text.__file__, "nothing.cfg")
    with pytest.raises(ValueError, match=r"text\.py: no value for KEY"):
        fill_beside(text.__file__, "text.py")
