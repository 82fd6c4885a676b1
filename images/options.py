"""The options that a service reads (oslo.config), listed from the very code that is in its image."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from images.bytecode import interpreter
from images.errors import ImageError
from images.recipe import Python

_TIMEOUT = 300
# What the worker says of an option that is no part of what is known of its values.
_NAMES = ("group", "name", "former")


def list_options(image: str, site: Path, python: Python) -> dict[str, Any]:
    """Every option that the code in ``site`` reads, as the recipe's ``python`` says where to find them.

    Raises ``ImageError`` when the service's code does not load, or has no namespace or group that the recipe
    names.
    """
    request = {
        "namespaces": python.option_namespaces,
        "stubs": python.stubs,
        "password": bool(python.password_groups),
    }
    answer = _ask(image, site, request)
    known = reduce_options(answer["options"])
    groups = known["groups"]
    for group, listed in python.option_groups.items():
        if listed not in groups:
            raise ImageError(f"image {image}: its option_groups name {listed}, which is not listed")
        groups[group] = groups[listed]
    password = {option["name"]: _about(option) for option in answer.get("password", [])}
    for group in python.password_groups:
        groups[group] = {**password, **groups.get(group, {})}
    return known


def _ask(image: str, site: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """What ``options_worker.py`` answers, of the code in ``site`` alone."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    worker = Path(__file__).with_name("options_worker.py")
    done = subprocess.run(
        [interpreter(), "-P", "-S", "-W", "ignore", str(worker)],
        input=json.dumps(request),
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise ImageError(f"image {image}: its options cannot be listed: {done.stderr.strip()[-800:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def reduce_options(options: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What Jarvis needs of the ``options`` that the worker lists::

        {"groups": {GROUP: {OPTION: {"type": "integer value", "multi": false, "choices": [], "min": null,
                                     "max": null, "secret": false, "deprecated": false}}},
         "renamed": {"GROUP.OLD": "GROUP.NEW"}}

    Options are named as in the environment, with underscores. ``type``, ``choices``, ``min`` and ``max`` are
    of one value. A ``multi`` option takes a sequence of such values, and cannot be set by the environment
    (oslo.config takes its value apart into letters). A "list value" and a "dict value" have also ``item``,
    with the same four of each member, and ``bounds``: whether the text stands in brackets or braces; without
    bounds they would be part of the first member. Defaults are not listed: some depend on the machine that
    lists them.
    """
    every = list(options)
    groups: dict[str, dict[str, Any]] = {}
    for option in every:
        groups.setdefault(option["group"], {})[_underscored(option["name"])] = _about(option)
    renamed = {
        f"{group}.{_underscored(name)}": f"{option['group']}.{_underscored(option['name'])}"
        for option in every
        for group, name in option["former"]
        # A name that is still an option's own is not one that was renamed.
        if _underscored(name) not in groups.get(group, {})
    }
    return {"groups": groups, "renamed": renamed}


def _about(option: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in option.items() if key not in _NAMES}


def _underscored(name: str) -> str:
    return name.replace("-", "_")
