"""Checks objects of Kubernetes against the OpenAPI document of the pinned API server.

`openapi.json` holds the part of that document that the objects of the golden stacks reach, one definition a
line. Write it anew with: make openapi
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATA = HERE / "openapi.json"

_SCHEMAS = "#/components/schemas/"
_LIST = "x-kubernetes-list-type"
_KEYS = "x-kubernetes-list-map-keys"
_KINDS = "x-kubernetes-group-version-kind"

# What a check needs to know of a definition.
_KEPT = {"type", "format", "enum", "required", "oneOf", "default", _LIST, _KEYS}
# What it needs not: prose; how a patch is merged; which maps have one owner; which of two fields a third one
# names, of which the server's own validation knows more than the document.
_DROPPED = {
    "description",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
    "x-kubernetes-unions",
}
# The document has no fields of it, since it may have any. Others without fields are empty.
_FREE = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
# The document tells its grammar in prose alone.
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


# --- the part of the document ------------------------------------------------------------------------------


def path_of(version: str) -> str:
    """Where an API server has the document of ``version`` (``v1`` or ``apps/v1``), below its address."""
    return f"/openapi/v3/{'apis' if '/' in version else 'api'}/{version}"


def kind_of(known: Mapping[str, str]) -> str:
    """``apps/v1 Deployment``, of a group, version and kind."""
    return "/".join(filter(None, (known["group"], known["version"]))) + f" {known['kind']}"


def part(documents: Sequence[Mapping[str, Any]], kinds: Sequence[str], version: str) -> str:
    """The text of `openapi.json`: of ``documents``, one for each version of an API, the definitions that
    objects of ``kinds`` (``apps/v1 Deployment``) reach.

    Raises ``ValueError`` for a kind that no document has, a keyword that nobody has decided about, and a
    definition that two documents tell differently.
    """
    found: dict[str, Any] = {}
    reached: dict[str, str] = {}
    for document in documents:
        schemas = document["components"]["schemas"]
        rest = []
        for name, schema in schemas.items():
            for kind in map(kind_of, schema.get(_KINDS, ())):
                if kind in kinds:
                    reached[kind] = name
                    rest.append(name)
        seen: set[str] = set()
        while rest:
            name = rest.pop()
            if name in seen:
                continue
            seen.add(name)
            schema = _kept(schemas[name], name)
            if found.setdefault(name, schema) != schema:
                raise ValueError(f"two documents have different definitions of {name}")
            rest += _references(schema)
    if missing := sorted(set(kinds) - reached.keys()):
        raise ValueError(f"Kubernetes {version} does not know: {', '.join(missing)}")
    lines = [f"{_line(name)}:{_line(schema)}" for name, schema in sorted(found.items())]
    head = f'"kubernetes":{_line(version)},\n"kinds":{_line(dict(sorted(reached.items())))},\n'
    return f'{{{head}"definitions":{{\n' + ",\n".join(lines) + "\n}}\n"


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _kept(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``schema`` without what no check needs.

    A reference stands in an ``allOf`` of the document where it has a default or a description beside it.
    """
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        match keyword:
            case "allOf" if len(value) == 1 and "$ref" in value[0] and "properties" not in schema:
                kept["$ref"] = value[0]["$ref"].removeprefix(_SCHEMAS)
            case "$ref":
                kept["$ref"] = value.removeprefix(_SCHEMAS)
            case "properties":
                kept["properties"] = {field: _kept(below, name) for field, below in value.items()}
            case "items" | "additionalProperties":
                kept[keyword] = _kept(value, name)
            case "default" if isinstance(value, Mapping):
                pass  # No key of a list is an object.
            case "format" if value not in _FORMATS:
                raise ValueError(f"{name} has the format {value} in the document: say how a check knows it")
            case _ if keyword in _KEPT:
                kept[keyword] = value
            case _ if keyword not in {*_DROPPED, _KINDS}:
                raise ValueError(f"{name} has {keyword} in the document: say what a check makes of it")
    if "$ref" in kept and kept.keys() > {"$ref", "default"}:
        raise ValueError(f"{name} has more than a reference in one place of the document")
    return kept


def _references(schema: object) -> Iterator[str]:
    """The names of the definitions that ``schema`` refers to."""
    if isinstance(schema, Mapping):
        for keyword, value in schema.items():
            if keyword == "$ref":
                yield value
            else:
                yield from _references(value)


# --- the check ---------------------------------------------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    # The engine's protocol has one type of numbers: 1.0 is an integer.
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": lambda value: _is_number(value),
    "object": lambda value: isinstance(value, Mapping),
    "string": lambda value: isinstance(value, str),
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# The grammar of the document, with what the server takes besides: nano and micro. Its exponents are whole.
_AMOUNT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")


def _fits(bits: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) or -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error:
        return False
    return True


_FORMATS: Mapping[str, Callable[[Any], bool]] = {
    "byte": _is_base64,
    "date-time": lambda value: bool(_DATE.fullmatch(value)),
    "int-or-string": _fits(32),
    "int32": _fits(32),
    "int64": _fits(64),
    "quantity": lambda value: not isinstance(value, str) or bool(_AMOUNT.fullmatch(value)),
}


class Api:
    """The API of one release of Kubernetes.

    Attributes:
        release: of Kubernetes, such as ``1.37.2``.
        kinds: the definition of each kind that it knows, by ``apps/v1 Deployment``.
    """

    def __init__(self, text: str) -> None:
        """``text``: what ``part`` made."""
        document = json.loads(text)
        self.release: str = document["kubernetes"]
        self.kinds: Mapping[str, str] = document["kinds"]
        self._definitions: dict[str, dict[str, Any]] = document["definitions"]
        if _QUANTITY in self._definitions:
            self._definitions[_QUANTITY]["format"] = "quantity"

    @classmethod
    def pinned(cls) -> Api:
        """The API of the release that servers get."""
        return cls(DATA.read_text(encoding="utf-8"))

    def mistakes(self, made: Mapping[str, Any]) -> list[str]:
        """What the API server would refuse in the object ``made``, each with the path of its field.

        Values are not told, since they may be secret. What the document does not say, such as how long a name
        may be, is not looked at.
        """
        kind = f"{made.get('apiVersion')} {made.get('kind')}"
        if kind not in self.kinds:
            return [f"{kind} is not among the kinds of {DATA.name}; if it should be: make openapi"]
        return list(self._check(made, {"$ref": self.kinds[kind]}, ""))

    def _check(self, value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        name = schema.get("$ref", "")
        if name:
            schema = self._definitions[name]
        types = [schema["type"]] if "type" in schema else [each["type"] for each in schema["oneOf"]]
        if not any(_TYPES[each](value) for each in types):
            yield f"{at}: is no {' or '.join(types)}"
            return
        if "format" in schema and not _FORMATS[schema["format"]](value):
            yield f"{at}: is no {schema['format']}"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{at}: is none of {', '.join(schema['enum'])}"
        if isinstance(value, Mapping) and name != _FREE:
            yield from self._check_fields(value, schema, at)
        elif isinstance(value, list):
            for index, each in enumerate(value):
                yield from self._check(each, schema["items"], f"{at}[{index}]")
            yield from self._check_keys(value, schema, at)

    def _check_fields(self, value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
        fields = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for field, each in value.items():
            place = f"{at}.{field}".removeprefix(".")
            if field in fields or others:
                yield from self._check(each, fields.get(field, others), place)
            else:
                yield f"{place}: there is no such field"
        yield from (
            f"{at}.{field}".removeprefix(".") + ": is missing"
            for field in schema.get("required", ())
            if field not in value
        )

    def _check_keys(self, value: Sequence[Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
        """A ``set`` has no item twice, a ``map`` no two items whose keys are the same: the server applies
        nothing else."""
        kind = schema.get(_LIST)
        if kind not in ("map", "set"):
            return
        seen: list[Any] = []
        for index, item in enumerate(value):
            key = self._keys(item, schema) if kind == "map" and isinstance(item, Mapping) else item
            if key in seen:
                yield f"{at}[{index}]: is there twice"
            seen.append(key)

    def _keys(self, item: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of ``item`` in a list of ``schema``, with their defaults."""
        fields = self._definitions[schema["items"]["$ref"]]["properties"]
        keys = {each: item.get(each, fields[each].get("default")) for each in schema[_KEYS]}
        return {each: key for each, key in keys.items() if key is not None}
