"""How often rings of Fernet keys rotate, and how many keys they keep."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jarvis.config.service import RotationSchedule

# Cron's notation, UTC, and the shortest time between two, in seconds.
SCHEDULES: Mapping[RotationSchedule, tuple[str, int]] = {
    "daily": ("17 3 * * *", 86_400),
    "weekly": ("17 3 * * 0", 7 * 86_400),
    "monthly": ("17 3 1 * *", 28 * 86_400),
}


def shortest(schedule: RotationSchedule) -> int:
    """The shortest time between two rotations of ``schedule``, in seconds."""
    return SCHEDULES[schedule][1]


def max_active_keys(*, expiration: int, allow_expired_window: int, rotation: int) -> int:
    """How many keys there must be for a token to be read as long as it may be.

    The formula is of Keystone's documentation ("Fernet - Frequently Asked Questions"), all in seconds.

    Args:
        expiration: a token's life.
        allow_expired_window: how long after it a service may still read it.
        rotation: the shortest time between two rotations.
    """
    return math.ceil((expiration + allow_expired_window) / rotation) + 2
