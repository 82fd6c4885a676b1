"""How options become the environment of a service's processes, as pure functions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping

from jarvis.config.types import Option

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\.[a-z][a-z0-9_]*")


def variable(name: str) -> str:
    """The environment variable of the option ``group.option``, as oslo.config's environment driver names it.

    Raises ``ValueError`` for a name of another form.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an option's name, such as DEFAULT.debug or token.expiration")
    group, _, option = name.partition(".")
    return f"OS_{group.upper()}__{option.upper()}"


def value(option: Option) -> str:
    """``option`` as oslo.config reads it: it would expand a ``$``, which is therefore doubled."""
    text = str(option).lower() if isinstance(option, bool) else str(option)
    return text.replace("$", "$$")


def environment(options: Mapping[str, Option]) -> dict[str, str]:
    """The variables of ``options`` (by ``group.option``), sorted by name."""
    return dict(sorted((variable(name), value(option)) for name, option in options.items()))


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    """``values`` as the ``data`` of a Secret. (Of ``stringData`` a key that is taken away would stay.)"""
    return {key: base64.b64encode(text.encode()).decode() for key, text in values.items()}
