"""Pulumi property values: plain Python on one side, protobuf Structs with sentinels on the other.

A value is None, bool, int, float, str, list, dict with string keys, or one of `Secret`, `UNKNOWN`, `Asset`,
`Archive`. The sentinels are those of the Pulumi SDK (sdk/go/common/resource: SigKey, SecretSig, AssetSig,
ArchiveSig, OutputValueSig, ResourceReferenceSig and plugin.UnknownStringValue).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolchain.plugins.common.protos import struct_pb2

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
# The unknown sentinels of every kind (bool, number, string, array, assets, object): all mean "not known yet".
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        UNKNOWN_STRING,
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

# None | bool | int | float | str | list[Value] | dict[str, Value] | Secret | Unknown | Asset | Archive
Value = Any


class Unknown:
    """A value that only the update will know. One instance exists: `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value the state keeps encrypted. Its text form hides it."""

    value: Value

    def __repr__(self) -> str:
        return "Secret([secret])"


@dataclass(frozen=True)
class Asset:
    """A file's content: one of `text`, `path`, `uri`; none when read from the state, which keeps the hash.

    Attributes:
        hash: SHA-256 of the content, hexadecimal, as the engine computed it.
    """

    hash: str = ""
    text: str | None = None
    path: str | None = None
    uri: str | None = None


@dataclass(frozen=True)
class Archive:
    """A tree of files: `assets` by relative name (values `Asset` or `Archive`), or an archive file or folder
    at `path`, or `uri`; only the hash when read from the state."""

    hash: str = ""
    assets: Mapping[str, Any] | None = None
    path: str | None = None
    uri: str | None = None


def from_wire(value: struct_pb2.Value) -> Value:
    """The Python value of a protobuf one. Whole numbers become int."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in _UNKNOWNS else text
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [from_wire(item) for item in value.list_value.values]
    if kind == "struct_value":
        return _object(value.struct_value)
    return None


def from_struct(struct: struct_pb2.Struct) -> dict[str, Value]:
    """The properties of a request as a dict."""
    return {key: from_wire(item) for key, item in struct.fields.items()}


def _object(struct: struct_pb2.Struct) -> Value:
    fields = from_struct(struct)
    signature = fields.get(SIGNATURE)
    if not isinstance(signature, str):
        return fields
    if signature == SECRET:
        return Secret(fields.get("value"))
    if signature == ASSET:
        return Asset(fields.get("hash") or "", fields.get("text"), fields.get("path"), fields.get("uri"))
    if signature == ARCHIVE:
        return Archive(fields.get("hash") or "", fields.get("assets"), fields.get("path"), fields.get("uri"))
    if signature == OUTPUT:
        inner = fields.get("value", UNKNOWN)
        return Secret(inner) if fields.get("secret") is True else inner
    if signature == RESOURCE:
        # A provider that takes no resources as inputs sees the reference as its id, else its URN.
        return fields.get("id") or fields.get("urn")
    return fields


def to_wire(value: Value) -> struct_pb2.Value:
    """The protobuf value of a Python one.

    Raises:
        TypeError: the value is of no kind named in this module's description.
    """
    out = struct_pb2.Value()
    _fill(out, value)
    return out


def to_struct(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """The properties of an answer as a protobuf Struct. Raises TypeError as `to_wire` does."""
    out = struct_pb2.Struct()
    for key, value in properties.items():
        _fill(out.fields[key], value)
    return out


def _fill(out: struct_pb2.Value, value: Value) -> None:
    if value is None:
        out.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        out.bool_value = value
    elif isinstance(value, int | float):
        out.number_value = value
    elif isinstance(value, str):
        out.string_value = value
    elif value is UNKNOWN:
        out.string_value = UNKNOWN_STRING
    elif isinstance(value, Mapping):
        out.struct_value.SetInParent()
        for key, item in value.items():
            _fill(out.struct_value.fields[key], item)
    elif isinstance(value, list | tuple):
        out.list_value.SetInParent()
        for item in value:
            _fill(out.list_value.values.add(), item)
    elif isinstance(value, Secret):
        _fill(out, {SIGNATURE: SECRET, "value": value.value})
    elif isinstance(value, Asset):
        _fill(
            out,
            {SIGNATURE: ASSET, **_present(hash=value.hash, text=value.text, path=value.path, uri=value.uri)},
        )
    elif isinstance(value, Archive):
        parts = _present(hash=value.hash, assets=value.assets, path=value.path, uri=value.uri)
        if len(parts) <= 1:
            # Known by its hash only: so the official plugins write it, and the state should not change.
            parts["assets"] = {}
        _fill(out, {SIGNATURE: ARCHIVE, **parts})
    else:
        raise TypeError(f"a value of type {type(value).__name__} cannot be a Pulumi property")


def _present(**fields: Value) -> dict[str, Value]:
    # An empty hash means "none"; an empty text is a text.
    return {key: item for key, item in fields.items() if item is not None and (key != "hash" or item)}


def reveal(value: Value) -> Value:
    """The value without secret wrappers, at any depth. Unknowns, assets and archives stay."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, Mapping):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [reveal(item) for item in value]
    return value


def _any(value: Value, wanted: Callable[[Value], bool]) -> bool:
    if wanted(value):
        return True
    if isinstance(value, Secret):
        return _any(value.value, wanted)
    if isinstance(value, Mapping):
        return any(_any(item, wanted) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_any(item, wanted) for item in value)
    return False


def has_unknown(value: Value) -> bool:
    """Whether the value is, or holds at any depth, something not known yet."""
    return _any(value, lambda item: item is UNKNOWN)


def has_secret(value: Value) -> bool:
    """Whether the value is, or holds at any depth, a secret."""
    return _any(value, lambda item: isinstance(item, Secret))


def secret_texts(value: Value) -> set[str]:
    """Every text (and number as text) inside secrets of the value: what no log may contain."""
    found: set[str] = set()

    def walk(item: Value, inside: bool) -> None:
        if isinstance(item, Secret):
            walk(item.value, True)
        elif isinstance(item, Mapping):
            for child in item.values():
                walk(child, inside)
        elif isinstance(item, list | tuple):
            for child in item:
                walk(child, inside)
        elif inside and isinstance(item, str):
            found.add(item)
        elif inside and isinstance(item, Asset) and item.text is not None:
            found.add(item.text)

    walk(value, False)
    return found
