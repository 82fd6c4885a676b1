"""Paths of fields inside objects of Kubernetes, as a person and as the API's ``fieldsV1`` writes them.

``spec.template.spec.containers[name=glance].env[name=TZ]``, ``metadata.annotations["a.b/c"]``: a name of an
object's or a map's field, in quotes where it has other signs than a word; an element of a list by its keys.
"""

from __future__ import annotations

import json
import re

# As in fieldsV1: ``f:<name>`` is a field, ``k:<keys>`` an element by its keys, ``v:<value>`` one by itself.
Path = tuple[str, ...]

_WORD = re.compile(r"[A-Za-z_][\w-]*")
_STEP = re.compile(
    r"""(?P<dot>\.)?(?P<word>[A-Za-z_][\w-]*)"""
    r"""|\["(?P<quoted>[^"\]]+)"\]"""
    r"""|\[(?P<keys>\w+=[^\s,="\[\]]+(?:,\w+=[^\s,="\[\]]+)*)\]"""
)


def spelled(path: Path) -> str:
    """``path`` for a person; ``parse`` takes it back."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "k":
            text += "[" + ",".join(f"{key}={value}" for key, value in json.loads(rest).items()) + "]"
        elif kind == "v":
            text += f"[={rest}]"
        elif _WORD.fullmatch(rest):
            text += f".{rest}" if text else rest
        else:
            text += f'["{rest}"]'
    return text


def parse(text: str) -> Path:
    """The path that ``text`` spells. Raises ``ValueError`` with what is wrong."""
    path: list[str] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None or (step["word"] is not None and bool(step["dot"]) != bool(path)):
            raise ValueError(
                f"{text!r} is no path of a field from {text[at:]!r} on: names with dots between them, as in"
                ' spec.replicas, data["a.conf"], containers[name=api]'
            )
        if step["keys"]:
            keys = dict(one.split("=", 1) for one in step["keys"].split(","))
            values = {key: int(one) if one.isdecimal() else one for key, one in keys.items()}
            path.append("k:" + json.dumps(values, separators=(",", ":"), sort_keys=True))
        else:
            path.append(f"f:{step['word'] or step['quoted']}")
        at = step.end()
    if not path or path[0][0] != "f":
        raise ValueError(f"{text!r} names no field, such as spec.replicas")
    return tuple(path)
