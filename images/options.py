"""The options that a service reads (oslo.config), listed from the very code that is in its image."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from images.bytecode import interpreter
from images.errors import ImageError

_TIMEOUT = 300
# The same as the program oslo-config-generator, without what lies around it on this machine.
_PROGRAM = "import sys; from oslo_config.generator import main; main(sys.argv[1:])"
_MULTI = "multi valued"


def list_options(image: str, site: Path, namespaces: Sequence[str]) -> dict[str, Any]:
    """Every option of the ``namespaces`` (``oslo.config.opts`` entry points) of the code in ``site``.

    Raises ``ImageError`` when the service's code does not load.
    """
    words = [interpreter(), "-P", "-S", "-W", "ignore", "-c", _PROGRAM, "--format", "json"]
    words += [word for namespace in namespaces for word in ("--namespace", namespace)]
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode != 0:
        raise ImageError(f"image {image}: its options cannot be listed: {done.stderr.strip()[-800:]}")
    return reduce_options(json.loads(done.stdout))


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
