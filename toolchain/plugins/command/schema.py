"""The inputs of each resource, as in the published schema of the command plugin 1.2.1, and their checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from toolchain.plugins.command.connection import DEFAULTS, SECRETS
from toolchain.plugins.common.provider import Checked, CheckFailure, Properties
from toolchain.plugins.common.values import UNKNOWN, Archive, Asset, Secret, Value, has_unknown

LOCAL = "command:local:Command"
REMOTE = "command:remote:Command"
COPY = "command:remote:CopyToRemote"
RUN = "command:local:run"

_COMMON = {
    "stdin": "string",
    "logging": "logging",
    "addPreviousOutputInEnv": "bool",
    "environment": "strings",
}
_LIFE = {"create": "string", "update": "string", "delete": "string", "triggers": "list"}
_HERE = {"interpreter": "names", "dir": "string", "assetPaths": "names", "archivePaths": "names"}
INPUTS: dict[str, dict[str, str]] = {
    LOCAL: {**_COMMON, **_LIFE, **_HERE},
    REMOTE: {**_COMMON, **_LIFE, "connection": "connection"},
    COPY: {"connection": "connection", "triggers": "list", "source": "source", "remotePath": "string"},
    RUN: {**_COMMON, **_HERE, "command": "string"},
}
_REQUIRED = {
    LOCAL: (),
    REMOTE: ("connection",),
    COPY: ("connection", "source", "remotePath"),
    RUN: ("command",),
}
_LOGGING = ("stdout", "stderr", "stdoutAndStderr", "none")
_PROXY = {
    "host": "string",
    "port": "number",
    "user": "string",
    "password": "string",
    "privateKey": "string",
    "privateKeyPassword": "string",
    "agentSocketPath": "string",
    "hostKey": "string",
    "dialErrorLimit": "number",
    "perDialTimeout": "number",
}
_CONNECTION = {**_PROXY, "proxy": "proxy"}

_KINDS: dict[str, tuple[Callable[[Value], bool], str]] = {
    "string": (lambda value: isinstance(value, str), "a string"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "number": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    "list": (lambda value: isinstance(value, list), "a list"),
    "logging": (lambda value: value in _LOGGING, f"one of {', '.join(_LOGGING)}"),
}


def check(token: str, news: Properties) -> Checked:
    """The inputs of a resource with defaults filled in and secrets marked, and every mistake in them.

    Messages name fields, never values: a value may be a secret in the wrong place.
    """
    failures: list[CheckFailure] = []
    inputs = {key: value for key, value in news.items() if value is not None}
    known = INPUTS[token]
    for name in _REQUIRED[token]:
        if name not in inputs:
            failures.append(CheckFailure(name, f"{name}: missing"))
    for name, value in inputs.items():
        if name not in known:
            failures.append(
                CheckFailure(name, f"{name}: unknown field; known are {', '.join(sorted(known))}")
            )
        elif known[name] == "connection":
            inputs[name] = _connection(value, name, _CONNECTION, failures)
        else:
            _value(value, known[name], name, failures)
    return Checked(inputs, failures)


def _value(value: Value, kind: str, path: str, failures: list[CheckFailure]) -> None:
    while isinstance(value, Secret):
        value = value.value
    if value is None or value is UNKNOWN:
        return
    if kind == "names":
        if isinstance(value, list):
            for index, item in enumerate(value):
                _value(item, "string", f"{path}[{index}]", failures)
        else:
            failures.append(CheckFailure(path, f"{path}: must be a list of strings"))
    elif kind == "strings":
        if isinstance(value, Mapping):
            for key, item in value.items():
                _value(item, "string", f"{path}.{key}", failures)
        else:
            failures.append(CheckFailure(path, f"{path}: must be an object of strings"))
    elif kind == "source":
        _source(value, path, failures)
    else:
        accepts, wanted = _KINDS[kind]
        if not accepts(value):
            failures.append(CheckFailure(path, f"{path}: must be {wanted}"))


def _source(value: Value, path: str, failures: list[CheckFailure]) -> None:
    if not isinstance(value, Asset | Archive):
        failures.append(CheckFailure(path, f"{path}: must be an asset or an archive"))
    elif value.uri is not None:
        reason = (
            f"{path}: must be a file, a folder, a text or an archive of those; a remote one cannot be copied"
        )
        failures.append(CheckFailure(path, reason))


def _connection(value: Value, path: str, known: Mapping[str, str], failures: list[CheckFailure]) -> Value:
    """A connection checked, with defaults, its keys and passwords secret, and itself a secret."""
    inner = value
    while isinstance(inner, Secret):
        inner = inner.value
    if inner is UNKNOWN:
        return value
    if not isinstance(inner, Mapping):
        failures.append(CheckFailure(path, f"{path}: must be an object"))
        return value
    fields: dict[str, Value] = {key: item for key, item in inner.items() if item is not None}
    for name, item in fields.items():
        if name not in known:
            reason = f"{path}.{name}: unknown field; known are {', '.join(sorted(known))}"
            failures.append(CheckFailure(f"{path}.{name}", reason))
        elif known[name] == "proxy":
            fields[name] = _connection(item, f"{path}.{name}", _PROXY, failures)
        else:
            _value(item, known[name], f"{path}.{name}", failures)
    if "host" not in fields:
        failures.append(CheckFailure(f"{path}.host", f"{path}.host: missing"))
    fields = {**DEFAULTS, **fields}
    for name in SECRETS:
        if name in fields and not isinstance(fields[name], Secret) and not has_unknown(fields[name]):
            fields[name] = Secret(fields[name])
    return fields if known is _PROXY else Secret(fields)
