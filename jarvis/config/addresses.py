"""How the virtual address changes while somebody is always reached, as pure functions.

In the first ``up`` after the change the servers hold both addresses, and who speaks with the API meanwhile
does so by the one before. The next ``up`` lets that one go.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from jarvis.config.before import Before


def held_addresses(now: IPv4Address, before: Before) -> tuple[IPv4Address, ...]:
    """The addresses that the servers hold in this run: ``now``, the configured one, and the last deployed.

    One that was held stays in its place, and a new one comes last: holders hear each other only while the
    first is the same for all (``jarvis.kubernetes.virtual_address``).
    """
    wanted = (before.virtual_address or now, now)
    kept = [one for one in before.held if one in wanted]
    return tuple(dict.fromkeys([*kept, *wanted]))


def reach_address(now: IPv4Address, before: Before) -> IPv4Address:
    """The address that answers from the beginning of this run to its end, in a preview too: the last deployed
    one, which is held in every run and was in the one before, or ``now`` where nothing was deployed."""
    return before.virtual_address or now


def holders_change(now: IPv4Address, before: Before) -> bool:
    """Whether this run changes which addresses are held, on servers that hold some."""
    return bool(before.held) and held_addresses(now, before) != before.held


def told(now: IPv4Address, before: Before) -> str:
    """What an operator must know of this run; empty where ``now`` alone was held, and is."""
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
