"""A change of the virtual address that never leaves clients without one, as pure functions.

In the first ``up`` after the change the servers hold both addresses, and clients of the API go on using the
former. The next ``up`` releases the former.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from jarvis.config.before import Before


def held_addresses(now: IPv4Address, before: Before) -> tuple[IPv4Address, ...]:
    """The virtual addresses that the servers hold in this run: the last deployed one and the configured one.

    An address that was held keeps its place, and a new one comes last: holders hear each other only while all
    have the same first address (``jarvis.kubernetes.virtual_address``).

    Args:
        now: the configured address.
        before: what is deployed.
    """
    wanted = (before.virtual_address or now, now)
    kept = [one for one in before.held if one in wanted]
    return tuple(dict.fromkeys([*kept, *wanted]))


def reach_address(now: IPv4Address, before: Before) -> IPv4Address:
    """The virtual address that answers from the start of this run, preview included, to its end.

    It is the last deployed one, which is held in every run, and ``now`` where nothing was deployed.

    Args:
        now: the configured address.
        before: what is deployed.
    """
    return before.virtual_address or now


def holders_change(now: IPv4Address, before: Before) -> bool:
    """Whether this run changes the addresses that are held, on servers that hold some."""
    return bool(before.held) and held_addresses(now, before) != before.held


def told(now: IPv4Address, before: Before) -> str:
    """A notice for the operator about held addresses; empty where ``now`` alone was held and stays."""
    held = held_addresses(now, before)
    gone = [str(one) for one in before.held if one not in held]
    beside = [str(one) for one in held if one != now]
    parts = [f"{' and '.join(gone)} is held no more after this run"] if gone else []
    if beside:
        parts.append(
            f"{beside[0]} stays held beside {now} until the next `pulumi up`, which lets it go: lead all"
            " clients to the new one before that"
        )
    return f"networks.virtual_address: {'; '.join(parts)}" if parts else ""
