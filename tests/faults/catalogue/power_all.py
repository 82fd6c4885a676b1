"""The power of all servers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.faults.fault import Fault
from tests.lab.deployment import Cloud, lab


def each(verb: str) -> Callable[[Cloud], None]:
    """A verb of the lab for every server, side by side as far as the lab goes."""

    def do(cloud: Cloud) -> None:
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(lambda server: lab(verb, server), cloud.servers):
                pass

    return do


def faults(cloud: Cloud) -> Iterator[Fault]:
    yield Fault(
        name="power-all",
        title="power of all servers, off and on",
        strike=each("power-off"),
        mend=each("power-on"),
        powerless=cloud.servers,
    )
