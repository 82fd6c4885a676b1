"""The plug of each server, pulled and put in again."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.fault import Fault
from tests.lab.deployment import Cloud, lab


def power_one(server: str, roles: str) -> Fault:
    """``roles``: what the table is to say of the server."""
    return Fault(
        name=f"power-{server}",
        title=f"power of {server} ({roles}), off and on",
        strike=lambda _: void(lab("power-off", server)),
        mend=lambda _: void(lab("power-on", server)),
        noticed=lambda cloud: server not in cloud.ready_nodes(),
        powerless=[server],
        one_server=True,
    )


def void(_: object) -> None:
    """What a command printed is of no use."""


def faults(cloud: Cloud) -> Iterator[Fault]:
    everywhere = set.intersection(*(set(each["roles"]) for each in cloud.stack.environment["servers"]))
    for server in cloud.stack.environment["servers"]:
        own = [role for role in server["roles"] if role not in everywhere]
        yield power_one(server["name"], ", ".join(["all roles of each", *own]))
