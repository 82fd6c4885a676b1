"""The options that a service reads (oslo.config), listed from the very code that is in its image."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from images.bytecode import interpreter
from images.errors import ImageError
from images.recipe import Python

_TIMEOUT = 300
# The same as the program oslo-config-generator, without what lies around it on this machine.
_PROGRAM = "import sys; from oslo_config.generator import main; main(sys.argv[1:])"
_MULTI = "multi valued"
# The options of logging in with a password, which keystoneauth adds to a group only once it reads it.
_PASSWORD = """
import json
from keystoneauth1 import loading
found = [*loading.get_auth_common_conf_options(), *loading.get_auth_plugin_conf_options("password")]
print(json.dumps({option.dest: bool(option.secret) for option in found}))
"""


def list_options(image: str, site: Path, python: Python) -> dict[str, Any]:
    """Every option that the code in ``site`` reads, as the recipe's ``python`` says where to find them.

    Raises ``ImageError`` when the service's code does not load, or has no group that the recipe names.
    """
    words = [word for each in python.option_namespaces for word in ("--namespace", each)]
    known = reduce_options(_ask(image, site, _PROGRAM, "--format", "json", *words))
    groups = known["groups"]
    for group, listed in python.option_groups.items():
        if listed not in groups:
            raise ImageError(f"image {image}: its option_groups name {listed}, which is not listed")
        groups[group] = groups[listed]
    if python.password_groups:
        password = {
            name: {
                "type": "string value", "multi": False, "choices": [], "min": None, "max": None,
                "secret": secret, "deprecated": False,
            }
            for name, secret in _ask(image, site, _PASSWORD).items()
        }  # fmt: skip
        for group in python.password_groups:
            groups[group] = {**password, **groups.get(group, {})}
    return known


def _ask(image: str, site: Path, program: str, *words: str) -> dict[str, Any]:
    """What ``program`` says as JSON, of the code in ``site`` alone."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [interpreter(), "-P", "-S", "-W", "ignore", "-c", program, *words],
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


def reduce_options(listing: dict[str, Any]) -> dict[str, Any]:
    """What Jarvis needs of the generator's machine-readable ``listing``::

        {"groups": {GROUP: {OPTION: {"type": "integer value", "multi": false, "choices": [], "min": null,
                                     "max": null, "secret": false, "deprecated": false}}},
         "renamed": {"GROUP.OLD": "GROUP.NEW"}}

    Options are named as in the environment, with underscores. A ``multi`` option cannot be set by the
    environment (oslo.config takes its value apart into letters). Defaults are not listed: some depend on
    the machine that lists them.
    """
    groups: dict[str, dict[str, Any]] = {}
    for group, content in listing["options"].items():
        for option in content["opts"]:
            groups.setdefault(group, {})[_underscored(option["name"])] = {
                "type": option["type"],
                "multi": option["type"] == _MULTI,
                "choices": [choice for choice, _ in option["choices"]],
                "min": option["min"],
                "max": option["max"],
                "secret": option["secret"],
                "deprecated": option["deprecated_for_removal"],
            }
    renamed = {
        f"{group}.{_underscored(old['name'])}": (
            f"{old['replacement_group']}.{_underscored(old['replacement_name'])}"
        )
        for group, olds in listing["deprecated_options"].items()
        for old in olds
        if _underscored(old["name"]) not in groups.get(group, {})
    }
    return {"groups": groups, "renamed": renamed}


def _underscored(name: str) -> str:
    return name.replace("-", "_")
