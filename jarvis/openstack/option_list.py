"""The options that a service has, and whether those it is given are among them.

oslo.config takes options from the environment without a word about those that it does not know. So each is
held against the list that was made from the service's own code when its image was built
(``images/options.py``).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jarvis.config.errors import ConfigurationError
from jarvis.openstack.model import Value

_BOOLEANS = ("true", "false", "1", "0", "yes", "no", "on", "off")


@dataclass(frozen=True, kw_only=True)
class OptionList:
    """The options of one service.

    Attributes:
        groups: what is known of an option, by group and by name.
        renamed: ``group.new`` by ``group.old``; old names do nothing in the environment.
    """

    groups: Mapping[str, Mapping[str, Mapping[str, Any]]]
    renamed: Mapping[str, str]

    def secret(self, name: str) -> bool:
        """Whether the service calls its option ``name`` (``group.option``) a secret."""
        group, _, option = name.partition(".")
        return bool(self.groups.get(group, {}).get(option, {}).get("secret"))

    def mistakes(self, options: Mapping[str, Value]) -> Iterator[str]:
        """One sentence for each of ``options`` (by ``group.option``) that the service would not heed."""
        for name, value in options.items():
            group, _, option = name.partition(".")
            if name in self.renamed:
                yield f"{name} is now called {self.renamed[name]}"
            elif group not in self.groups:
                yield f"{name}: there is no group {group}{_near(group, self.groups)}"
            elif option not in self.groups[group]:
                known = [f"{each}.{one}" for each, names in self.groups.items() for one in names]
                yield f"{name}: there is no such option{_near(name, known)}"
            else:
                yield from _value_mistakes(name, value, self.groups[group][option])


def _near(name: str, known: Mapping[str, Any] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the closest is {close[0]}" if close else ""


def _value_mistakes(name: str, value: Value, about: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(value, str | int | float):
        if not about.get("multi"):
            yield f"{name}: a list of values is for an option that may be given more than once; give one"
        elif any("\n" in each for each in value):
            yield f"{name}: each value is one line"
        return
    text = str(value)
    if about.get("multi"):
        yield f"{name}: it may be given more than once: give a list of values, such as [{text}]"
    elif about.get("type") == "integer value":
        if isinstance(value, bool) or not text.lstrip("-").isdigit():
            yield f"{name}: {text!r} is not a whole number"
            return
        low, high = about.get("min"), about.get("max")
        if (low is not None and int(text) < low) or (high is not None and int(text) > high):
            yield f"{name}: {text} is not between {_limit(low)} and {_limit(high)}"
    elif about.get("type") == "boolean value" and text.lower() not in _BOOLEANS:
        yield f"{name}: {text!r} is not true or false"
    elif about.get("choices") and text not in [str(choice) for choice in about["choices"]]:
        yield f"{name}: {text!r} is none of {', '.join(map(str, about['choices']))}"


def _limit(value: Any) -> str:
    return "any" if value is None else str(value)


def read_option_list(service: str, layout: str) -> OptionList:
    """The list in the image at ``layout`` (an OCI layout made by ``images``).

    Raises:
        ConfigurationError: it is missing or of another form.
    """
    file = Path(layout) / "options.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return OptionList(groups=document["groups"], renamed=document["renamed"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"the image of {service} has no list of options: {file}; build it again with: make artifacts"
        ) from None


def check_secrets(service: str, known: OptionList, options: Iterable[str], secret: Iterable[str]) -> None:
    """Whether the operator's ``options`` are those that show in the open, and the ``secret`` ones are not.

    Raises:
        ConfigurationError: options in the wrong place, all of them, and what to type. No value is told.
    """
    lines = [
        f"  openstack.{service}.options.{name} is a secret, and would be readable in the configuration, in"
        " previews and in the state: remove it there, and type\n"
        f"    pulumi config set --secret --path '{secret_path(service, name)}'"
        for name in options
        if known.secret(name)
    ]
    lines += [
        f"  openstack.{service}.secret_options.{name} is no secret of {service}'s: it belongs in options"
        for name in secret
        if not known.secret(name) and not list(known.mistakes({name: ""}))
    ]
    if lines:
        text = "\n".join(lines)
        raise ConfigurationError(
            f"options of {service} are not where they belong; nothing has been changed:\n{text}"
        )


def secret_path(service: str, name: str) -> str:
    """Where ``pulumi config set --path`` puts the secret option ``name`` of ``service``."""
    return f'jarvis:environment.openstack.{service}.secret_options["{name}"]'


def check_options(
    service: str, known: OptionList, options: Mapping[str, Value], field: str = "options"
) -> None:
    """Whether ``service`` heeds ``options``, which stand in ``field``.

    Raises:
        ConfigurationError: every mistake at once.
    """
    found = list(known.mistakes(options))
    if found:
        lines = "\n".join(f"  openstack.{service}.{field}.{mistake}" for mistake in found)
        raise ConfigurationError(
            f"{service} would not heed these options; nothing has been changed:\n{lines}"
        )
