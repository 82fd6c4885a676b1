"""How options reach the processes of a service, in pods and on servers alike, as pure functions.

Single values are variables of the environment, as oslo.config's environment driver reads them. It takes a
multi-valued option apart into letters, so those are in one file, in a folder that every service reads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jarvis.config.types import Option
from jarvis.openstack.model import Value

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\.[a-z][a-z0-9_]*")


# What systemd heeds within double quotes, and how it is escaped there.
_ESCAPED, _ESCAPE = re.compile(r'(["\\`$])'), r"\\\1"
# The file of multi-valued options.
FILE = "jarvis.conf"


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """Options of a process in the forms in which it reads them.

    Attributes:
        variables: of the environment, sorted by name.
        files: texts by the name of a file in ``folder``.
    """

    variables: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)


def folder(service: str) -> str:
    """The folder whose files ``service`` reads beside the environment (oslo.config's find_config_dirs)."""
    return f"/etc/{service}/{service}.conf.d"


def rendered(options: Mapping[str, Value]) -> Rendered:
    """``options`` (by ``group.option``) for a process.

    Raises:
        ValueError: a name of another form.
    """
    single: dict[str, Option] = {}
    several: dict[str, Sequence[str]] = {}
    for name, each in options.items():
        if isinstance(each, str | bool | int | float):
            single[name] = each
        else:
            several[name] = each
    return Rendered(
        variables=environment(single), files={FILE: file_text(several)} if any(several.values()) else {}
    )


def file_text(options: Mapping[str, Sequence[str]]) -> str:
    """Multi-valued ``options`` as a file of oslo.config: a line for each value, groups and options sorted."""
    groups: dict[str, list[str]] = {}
    for name, values in sorted(options.items()):
        group, option = _taken_apart(name)
        groups.setdefault(group, []).extend(f"{option} = {value(each)}" for each in values)
    return "\n".join(
        f"[{group}]\n" + "".join(f"{line}\n" for line in lines) for group, lines in groups.items()
    )


def environment_file(variables: Mapping[str, str]) -> str:
    """``variables`` as a file that a unit of systemd names (systemd.exec(5), EnvironmentFile=)."""
    return "".join(f'{name}="{_ESCAPED.sub(_ESCAPE, text)}"\n' for name, text in variables.items())


def variable(name: str) -> str:
    """The environment variable of the option ``group.option``, as oslo.config's environment driver names it.

    Raises:
        ValueError: a name of another form.
    """
    group, option = _taken_apart(name)
    return f"OS_{group.upper()}__{option.upper()}"


def _taken_apart(name: str) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an option's name, such as DEFAULT.debug or token.expiration")
    group, _, option = name.partition(".")
    return group, option


def value(option: Option) -> str:
    """``option`` as oslo.config reads it. It would expand a ``$``, which is therefore doubled."""
    text = str(option).lower() if isinstance(option, bool) else str(option)
    return text.replace("$", "$$")


def environment(options: Mapping[str, Option]) -> dict[str, str]:
    """The variables of ``options`` (by ``group.option``), sorted by name."""
    return dict(sorted((variable(name), value(option)) for name, option in options.items()))


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    """``values`` as the ``data`` of a Secret; of ``stringData`` a key that is taken away would stay."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
