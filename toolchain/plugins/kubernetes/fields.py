"""Objects of Kubernetes' own kinds in the form that its types give them: what the API server answers.

The official plugin sends inputs through Kubernetes' Go types and back before it compares them with a live
object: quantities become canonical, fields that are left out when they are empty go, and so do fields that
the kind has not. fields.json is those types' declaration, printed by fields.go.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.quantity import canonical

_FILE = Path(__file__).with_name("fields.json")


class Misfit(Exception):
    """A value is not of its field's type; the object is left as it is, and the API server's to refuse."""


@functools.cache
def _declared() -> dict[str, dict[str, Any]]:
    declared: dict[str, dict[str, Any]] = json.loads(_FILE.read_text())
    return declared


def normalized(kind: Kind, value: dict[str, Any]) -> dict[str, Any]:
    """A plain object as its type has it; unchanged when the kind is none of Kubernetes' own stable ones.

    Args:
        value: without unknowns and secrets.
    """
    form = _declared()["kinds"].get(f"{kind.api_version}/{kind.kind}")
    if form is None:
        return value
    try:
        made: dict[str, Any] = _formed(form, value)
    except Misfit:
        return value
    return made


def _formed(form: str, value: Any) -> Any:
    """The value in its form.

    s, b, i, f: text, boolean, whole number, number. q: quantity. y: bytes in base64. x: any value, untouched.
    [F, {F: a list, a map of F. .T: the struct T.
    """
    if value is None or form == "x":
        return value
    if form[0] == ".":
        return _struct(_declared()["types"][form], value)
    if form[0] == "[":
        return [_formed(form[1:], item) for item in _of(list, value)]
    if form[0] == "{":
        return {key: _formed(form[1:], item) for key, item in _of(dict, value).items()}
    if form == "q":
        made = canonical(_text(value))
        if made is None:
            raise Misfit
        return made
    return _scalar(form, value)


def _struct(fields: dict[str, str], value: Any) -> dict[str, Any]:
    made = {}
    for key, item in _of(dict, value).items():
        form = fields.get(key)
        if form is None:
            continue
        if form[0] == "?":
            item = _formed(form[1:], item)
            if not item:
                continue
        else:
            item = _formed(form, item)
        made[key] = item
    return made


def _scalar(form: str, value: Any) -> Any:
    if form in "sy":
        return _of(str, value)
    if form == "b":
        return _of(bool, value)
    if isinstance(value, bool):
        raise Misfit
    return _of(int, value) if form == "i" else _of(int | float, value)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Misfit
    return value if isinstance(value, str) else repr(value)


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise Misfit
    return value
