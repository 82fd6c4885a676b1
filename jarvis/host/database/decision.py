"""What a member of the database does when its cluster is not at work: it joins, begins the cluster, or waits.

A pure function of what every member says of itself. All members reach the same answer from the same words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

# What a member says of itself:
PRIMARY = "primary"  # it runs, and is a part of the cluster that takes writes
NONPRIMARY = "nonprimary"  # it runs, and has lost the majority
WAITING = "waiting"  # it is about to start, and has read its position from its disk
STOPPED = "stopped"  # it was ended in order, and nobody starts it
EMPTY = "empty"  # it has no data, and never had
UNKNOWN = "unknown"  # it cannot tell what it has


@dataclass(frozen=True)
class State:
    """``uuid`` of the cluster whose data it has, ``seqno`` of the last transaction in it (-1: none known).
    ``size``: how many members it is connected with, itself counted. ``why``: of what is not well."""

    state: str
    uuid: str = ""
    seqno: int = -1
    size: int = 0
    why: str = ""


@dataclass(frozen=True)
class Decision:
    """``verb``: ``join``, ``bootstrap`` or ``wait``; ``reason``: for people."""

    verb: str
    reason: str


def _wait(reason: str) -> Decision:
    return Decision("wait", reason)


def decide(
    me: str,
    members: Sequence[str],
    states: Mapping[str, State | None],
    forgotten: Collection[str] = (),
) -> Decision:
    """What ``me`` does. ``members``: all, in the same order everywhere. ``states``: by member, ``None`` where
    there was no answer. ``forgotten``: those that an operator has declared lost for good; what one of them
    says counts all the same.

    A cluster is begun only where no member can know more than the one that begins it: each has said what it
    has, and none is at work. Nothing else than silence or doubt of a member that is not forgotten makes one
    wait for long.
    """
    mine = states[me]
    assert mine is not None
    others = {name: states.get(name) for name in members if name != me}
    primary = next((each for each in others.values() if each and each.state == PRIMARY), None)
    if primary is not None:
        if mine.state in (WAITING, STOPPED) and mine.uuid != primary.uuid:
            whose = f"cluster {mine.uuid}" if mine.uuid else "no cluster"
            return _wait(
                f"the data here is of {whose}, and the others' is of {primary.uuid}: look at it, move it"
                " away (the folder of mariadb's option datadir), and the others send theirs"
            )
        return Decision("join", "the cluster is at work")

    doubts = []
    for name, each in others.items():
        if name in forgotten and (each is None or each.state == UNKNOWN):
            continue
        if each is None:
            doubts.append(f"no answer from {name}")
        elif each.state == UNKNOWN:
            doubts.append(f"{name}: {each.why or 'it cannot tell what it has'}")
    if mine.state == UNKNOWN:
        doubts.append(mine.why or "this member cannot tell what it has")
    if doubts:
        return _wait(f"who has the newest data cannot be proved: {'; '.join(doubts)}")

    known = {
        name: each
        for name, each in [*others.items(), (me, mine)]
        if each is not None and each.state != UNKNOWN
    }
    uuids = {each.uuid for each in known.values() if each.uuid}
    if len(uuids) > 1:
        whose = ", ".join(f"{name} {each.uuid}" for name, each in sorted(known.items()) if each.uuid)
        return _wait(f"there is data of several clusters: {whose}; move away what is not the right one")

    def rank(name: str) -> tuple[bool, int, bool, int]:
        each = known[name]
        return each.state != EMPTY, each.seqno, each.state == NONPRIMARY, -members.index(name)

    best = max(known, key=rank)
    if best != me:
        if known[best].state == STOPPED:
            return _wait(f"{best} has the newest data, and is stopped; there: systemctl start mariadb")
        return _wait(f"{best} has the newest data, and begins the cluster")
    running = [name for name, each in known.items() if each.state == NONPRIMARY]
    if mine.state == NONPRIMARY and mine.size != len(running):
        return _wait(f"{len(running)} members run, and this one is connected with {mine.size} of them")
    return Decision("bootstrap", f"no member has newer data than {me} (transaction {mine.seqno})")
