"""The part of the pods' network that each server has, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence

from jarvis.config.before import Before


def pod_numbers(servers: Sequence[str], before: Before, parts: int) -> dict[str, int]:
    """The number of each server's part of the pods' network.

    A deployed server keeps its number wherever it stands in the list. A new one gets the lowest free number;
    the number of a server that leaves in this run is used last, since its pods are still there when the new
    server's come. In a new stack the numbers are places in the list.

    Args:
        servers: names, in the configuration's order.
        before: what is deployed.
        parts: how many parts the network has.

    Returns:
        Numbers from 0, below ``parts`` where these suffice, by server.
    """
    if not before.servers:
        return {name: at for at, name in enumerate(servers)}
    known = {one.name: one.number for one in before.servers}
    numbers = {name: known[name] for name in servers if name in known}
    new = [name for name in servers if name not in numbers]
    if not new:
        return numbers
    leaving = {number for name, number in known.items() if name not in numbers}
    taken = set(numbers.values())
    free = [number for number in range(parts) if number not in taken]
    order = [one for one in free if one not in leaving] + [one for one in free if one in leaving]
    # Too many servers get numbers past the last part, and the environment's checks refuse those.
    order += range(parts, parts + len(new))
    return numbers | dict(zip(new, order, strict=False))
