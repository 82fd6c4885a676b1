"""Pydantic's errors in the operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from jarvis.config.types import Place, named

# By pydantic's kinds of errors (https://docs.pydantic.dev/latest/errors/validation_errors/).
_WANTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a map of names and values",
    "float_parsing": "a number",
    "float_type": "a number",
    "frozen_set_type": "a list",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of a sane size",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a map of fields",
}
_LIMITS = {
    "greater_than_equal": ("less", "ge", "least"),
    "less_than_equal": ("more", "le", "most"),
}


def in_words(error: ErrorDetails, top: type[BaseModel]) -> str:
    """What is wrong with a field, and what would be right.

    Secrets are never shown: no kind of error that shows its input is one of theirs.

    Args:
        error: pydantic's error.
        top: the model that the place of the error begins at.
    """
    kind, value = error["type"], error["input"]
    text: str = error["msg"]
    if kind == "extra_forbidden":
        return _unknown(error["loc"], top)
    if kind == "missing":
        return "is missing"
    if kind == "string_type":
        # The value may be a secret.
        return f"{named(value) if isinstance(value, dict | list | None) else 'this'} is not a text"
    if kind in _WANTED:
        # Not even where a whole map of secrets is wrong is its value shown.
        told = "this" if "secret_options" in error["loc"] else named(value)
        return f"{told} is not {_WANTED[kind]}"
    if kind in _LIMITS:
        word, key, bound = _LIMITS[kind]
        return f"{value} is {word} than {error['ctx'][key]}, the {bound} there may be"
    if kind == "too_short":
        return "is empty, and needs one entry at least"
    return text.removeprefix("Value error, ")


def _unknown(place: Place, top: type[BaseModel]) -> str:
    """The error for an unknown field, with the known ones, which pydantic does not name."""
    known = _fields(place[:-1], top)
    near = get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"there is no such field; the closest is {near[0]}"
    return f"there is no such field; there are {', '.join(known)}" if known else "there is no such field"


def _fields(place: Place, model: type[BaseModel]) -> list[str]:
    """Names of the fields of the section at ``place`` below ``model``."""
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        found = list(_models(field.annotation)) if field else []
        if not found:
            return []
        model = found[0]
    return sorted(name for name, field in model.model_fields.items() if not field.exclude)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)
