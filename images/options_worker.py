"""Lists the options that the packages on the path read, as JSON on stdout.

``images.options`` runs it beside a service's site-packages, with a request on stdin: ``namespaces`` (entry
points of ``oslo.config.opts``), ``stubs`` (modules that are imported on the way and are not there) and
``password`` (whether those of logging in with a password are wanted). It imports nothing but the standard
library and what is in those site-packages.
"""

import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import sys
import types
from typing import Any


def main() -> None:
    """Answers one request."""
    request = json.load(sys.stdin)
    if request["stubs"]:
        sys.meta_path.append(Stubs(request["stubs"]))
    answer = {"options": listed(request["namespaces"])}
    if request["password"]:
        answer["password"] = [described("", option) for option in of_password()]
    json.dump(answer, sys.stdout)


def listed(namespaces: list[str]) -> list[dict[str, Any]]:
    """Every option of ``namespaces``, those of drivers included."""
    # The generator itself only warns of a namespace that is not there, and the list would be short of it.
    there = {each.name for each in importlib.metadata.entry_points(group="oslo.config.opts")}
    if missing := [each for each in namespaces if each not in there]:
        sys.exit(f"no package has the options {', '.join(missing)}")
    from oslo_config import generator

    return [
        described(getattr(group, "name", group) or "DEFAULT", option)
        for _, groups in generator._list_opts(namespaces)
        for group, options in groups
        for option in options
    ]


def of_password() -> list[Any]:
    """The options of logging in with a password, which keystoneauth adds to a group only once it reads it."""
    from keystoneauth1 import loading

    return [*loading.get_auth_common_conf_options(), *loading.get_auth_plugin_conf_options("password")]


def described(group: str, option: Any) -> dict[str, Any]:
    """What is known of an option without its default, which may depend on the machine."""
    return {
        "group": group,
        "name": option.dest,
        **value_type(option.type),
        "multi": option.multi,
        "secret": bool(option.secret),
        "deprecated": bool(option.deprecated_for_removal),
        "former": [
            [old.group or group, old.name or option.dest]
            for old in option.deprecated_opts
            # Such names are no good in a file, and oslo.config does not heed them.
            if not old.name or "-" not in old.name
        ],
    }


def value_type(kind: Any) -> dict[str, Any]:
    """What a value may be; ``item`` is the same of each member of a list, or value of a dictionary."""
    from oslo_config import generator
    from oslo_config import types as kinds

    about = {
        "type": generator._format_type_name(kind),
        "choices": list(getattr(kind, "choices", None) or []),
        "min": getattr(kind, "min", None),
        "max": getattr(kind, "max", None),
    }
    # A type of its own for what MultiStrOpt takes several of: each value is a string.
    if isinstance(kind, kinds.MultiString):
        about["type"] = kinds.String().type_name
    if isinstance(kind, kinds.List):
        about["item"] = value_type(kind.item_type)
    elif isinstance(kind, kinds.Dict):
        about["item"] = value_type(kind.value_type)
    if isinstance(kind, kinds.List | kinds.Dict):
        about["bounds"] = kind.bounds
    return about


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules ``names`` and all in them, where nothing else does. They have every name."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module as a package, if it is one of ours."""
        if not any(name == each or name.startswith(f"{each}.") for each in self._names):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        """An empty module."""
        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: a stub has no code."""


class Empty(type):
    """The kind of the classes in a stub: each has any other in turn, as a module has."""

    def __getattr__(cls, name: str) -> Any:
        return empty(name)


def empty(name: str) -> Any:
    """A class to inherit from, to raise or to catch; as a decorator it leaves what it is given."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Empty(name, (Exception,), {"__call__": lambda _, given=None, *__, **___: given})


class Stub(types.ModuleType):
    """A module in which every public name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        return empty(name)


if __name__ == "__main__":
    main()
