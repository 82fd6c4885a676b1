"""Inputs, live objects and states: pure conversions between the three. No cluster is asked."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from toolchain.plugins.common.values import UNKNOWN, Secret, Value, has_secret, has_unknown, reveal
from toolchain.plugins.kubernetes.naming import Kind

Object = dict[str, Any]

# Set by the server, never an input.
_SERVER_METADATA = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_SERVER_ANNOTATIONS = (
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "kubectl.kubernetes.io/last-applied-configuration",
)


def without_nulls(value: Value) -> Value:
    """The value without members that are null, at any depth. Secrets stay secrets."""
    if isinstance(value, Secret):
        return Secret(without_nulls(value.value))
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def normalized(inputs: Mapping[str, Value], kind: Kind) -> Object:
    """Inputs in the form the state keeps: no nulls, nothing that only the server sets, Secrets in base64.

    What is wholly known is in the form that its kind has (`fields.normalized`). A Secret's values are secret
    as a whole, whatever the program said of them.
    """
    out: Object = without_nulls(dict(inputs))
    if kind == Kind("v1", "Secret"):
        _normalize_secret(out)
    elif not has_unknown(out):
        from toolchain.plugins.kubernetes import fields

        out = with_secrets(fields.normalized(kind, reveal(out)), out)
    metadata = out.get("metadata")
    if isinstance(metadata, dict):
        out["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}
    return out


def _normalize_secret(out: Object) -> None:
    text = out.pop("stringData", None)
    data = out.get("data")
    plain_text, plain_data = _opened(text), _opened(data)
    if plain_text is None and plain_data is None:
        return
    if plain_text is UNKNOWN or plain_data is UNKNOWN:
        out["data"] = Secret(UNKNOWN)
        return
    merged = dict(plain_data or {})
    for key, value in (plain_text or {}).items():
        value = reveal(value)
        merged[key] = value if value is UNKNOWN else base64.b64encode(str(value).encode()).decode()
    out["data"] = Secret(reveal(merged))


def _opened(value: Value) -> Any:
    return value.value if isinstance(value, Secret) else value


def live(outputs: Mapping[str, Value]) -> Object:
    """The live object that a state holds, plainly."""
    plain: Object = reveal({key: value for key, value in outputs.items() if not key.startswith("__")})
    return plain


def prune(live: Any, wanted: Any) -> Any:
    """What of a live value answers to the old inputs: their members only, with the live values."""
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        return {key: prune(live[key], item) for key, item in wanted.items() if key in live}
    if isinstance(live, list) and isinstance(wanted, list):
        return [prune(item, want) for item, want in zip(live, wanted, strict=False)]
    return live


def imported_inputs(live: Object) -> Object:
    """Inputs for an object that comes under management as it is: all but what the server sets."""
    out = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in live.get("metadata", {}).items() if key not in _SERVER_METADATA}
    if "annotations" in metadata:
        kept = {k: v for k, v in metadata["annotations"].items() if k not in _SERVER_ANNOTATIONS}
        if kept:
            metadata["annotations"] = kept
        else:
            del metadata["annotations"]
    out["metadata"] = metadata
    return out


def with_secrets(value: Any, like: Value) -> Value:
    """The plain value with those parts made secret that are secret in `like`."""
    if isinstance(value, Secret):
        return value
    if isinstance(like, Secret):
        return Secret(value)
    if isinstance(value, Mapping) and isinstance(like, Mapping):
        return {key: with_secrets(item, like.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list):
        padded = [*like, *[None] * len(value)]
        return [with_secrets(item, want) for item, want in zip(value, padded, strict=False)]
    return value


def _as_secret_object(value: Object) -> Object:
    if value.get("apiVersion") == "v1" and value.get("kind") == "Secret":
        return {
            k: Secret(v) if k in ("data", "stringData") and v is not None else v for k, v in value.items()
        }
    return value


def secret_inputs(inputs: Object, like: Mapping[str, Value]) -> Object:
    """Plain inputs with secrets where `like` has them and where the kind demands them."""
    marked: Object = with_secrets(_as_secret_object(inputs), like)
    return marked


def state(
    inputs: Mapping[str, Value], live: Object, *, api_version: str, manager: str, preview: bool = False
) -> Object:
    """A resource's outputs: the live object and beside it what the next diff and update need.

    The list of fields' owners is left out: it is as large as the object, and the server has it.

    Args:
        inputs: with secrets marked; the live object's same members become secret.
        live: the object as the server answered.
        api_version: the one the object was made with.
        manager: the field manager's name.
        preview: leaves the status out, which a dry run knows nothing of.
    """
    plain = dict(live)
    plain["metadata"] = {k: v for k, v in live.get("metadata", {}).items() if k != "managedFields"}
    if preview:
        plain.pop("status", None)
    marked: Object = with_secrets(_as_secret_object(without_nulls(plain)), inputs)
    inside = secret_inputs(reveal(inputs), inputs) if has_secret(inputs) else _as_secret_object(dict(inputs))
    return {
        **marked,
        "__fieldManager": manager,
        "__initialApiVersion": api_version,
        "__inputs": inside,
    }
