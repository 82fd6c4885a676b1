"""What a fault is, and how one is tried: under load, from before it until all is well again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.client import Gateway, Refused, User
from tests.faults.health import problems
from tests.faults.load import Load
from tests.lab.deployment import Cloud

# Limits, far beyond what is aimed at: a fault that does not heal must end.
SERVED_SECONDS = 120
HEALTH_SECONDS = 600
# How often health is asked for: each question costs the servers a second of work.
LOOK_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    - ``name``: a word for the command line and the file. ``title``: what it is, for a reader of the table.
    - ``strike``: does it. ``mend``: gives back what was taken from outside, such as the power, or types the
      one command that a user would; ``None`` where nobody lifts a hand.
    - ``noticed``: whether the cloud knows of it; waited for before ``mend``.
    - ``powerless``: servers that lose their power. ``one_server``: the aims for the loss of one server hold.
    """

    name: str
    title: str
    strike: Callable[[Cloud], None]
    mend: Callable[[Cloud], None] | None = None
    noticed: Callable[[Cloud], bool] = lambda _: True
    powerless: Sequence[str] = ()
    one_server: bool = False


def _holds(true: Callable[[], bool], seconds: float, pause: float = 0.5) -> bool:
    """Looks until ``true()`` holds; ``False`` when it did not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def _noticed(fault: Fault, cloud: Cloud) -> bool:
    """Whether the cluster has noticed the fault. While the address moves nobody may answer who asks, and a
    plug that was pulled would stay out."""
    try:
        return fault.noticed(cloud)
    except AssertionError:
        return False


def attempt(cloud: Cloud, fault: Fault) -> dict[str, Any]:
    """Tries a fault; what was seen:

    ``kinds``: by kind of request what ``Stream.summary`` says. ``without``: whether all kinds were served
    while what was taken was gone, ``None`` where nothing is given back. ``acknowledged``: writes. ``lost``:
    those of them that are gone. ``health_seconds``: from the fault, or from the begin of its ``mend``, until
    nothing is wrong any more; ``None`` when that never was, and ``unwell`` says what is wrong.
    """
    unwell: list[str] = []

    def well(since: float, powerless: Sequence[str] = ()) -> bool:
        unwell[:] = problems(cloud, since, powerless)
        return not unwell

    assert _holds(lambda: well(0), HEALTH_SECONDS, LOOK_SECONDS), f"not well before {fault.name}: {unwell}"
    user = User(cloud.stack.workspace.clouds, Gateway(cloud.virtual_address, cloud.authority))
    with Load(user) as load:
        began = time.monotonic()
        served = _holds(lambda: load.steady(began), SERVED_SECONDS)
        assert served, f"not served before {fault.name}: {[stream.summary() for stream in load.streams]}"
        struck, struck_at = time.time(), time.monotonic()
        fault.strike(cloud)
        mended, without = struck, None
        if fault.mend is not None:
            noticed = _holds(lambda: _noticed(fault, cloud), SERVED_SECONDS, LOOK_SECONDS)
            now = time.monotonic()
            # What takes everything serves nobody: no need to wait for that.
            patience = SERVED_SECONDS if fault.one_server else 2 * LOOK_SECONDS
            without = noticed and _holds(lambda: load.steady(now), patience)
            mended = time.time()
            fault.mend(cloud)
        healed = _holds(lambda: well(struck, fault.powerless), HEALTH_SECONDS, LOOK_SECONDS)
        health = time.time() - mended
        now = time.monotonic()
        served = _holds(lambda: load.steady(now), SERVED_SECONDS)
    acknowledged = len(user.credentials) + len(user.images)
    lost = user.lost() if served else ["not served again"]
    if served:
        try:
            user.leave()
        except (OSError, Refused) as error:
            cloud.stack.say(f"{fault.name}: what the load made stays: {error}")
    return {
        "name": fault.name,
        "title": fault.title,
        "one_server": fault.one_server,
        "kinds": {stream.kind: stream.summary() for stream in load.streams},
        "without": without,
        "acknowledged": acknowledged,
        "lost": lost,
        "health_seconds": round(health, 1) if healed else None,
        "unwell": list(unwell),
        "seconds": round(time.monotonic() - struck_at, 1),
    }


def verdict(row: dict[str, Any]) -> str:
    """What of a row is wrong, for whoever asserts it: losses and what does not heal; never a time."""
    wrong = []
    if row["lost"]:
        wrong.append(
            f"{len(row['lost'])} of {row['acknowledged']} acknowledged writes lost: {row['lost'][:5]}"
        )
    if row["one_server"] and not row["without"]:
        wrong.append("not served by the servers that were left")
    if row["health_seconds"] is None:
        wrong.append(f"not well within {HEALTH_SECONDS} s: {', '.join(row['unwell'][:5])}")
    return "; ".join(wrong)
