"""All faults: each file of this folder has a function ``faults`` that tells those of a deployment."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from tests.faults.fault import Fault
from tests.lab.deployment import Cloud


def faults(cloud: Cloud) -> Iterator[Fault]:
    """Every fault that the deployment ``cloud`` can have, by the order of the files' names."""
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        yield from importlib.import_module(f"{__name__}.{module}").faults(cloud)
