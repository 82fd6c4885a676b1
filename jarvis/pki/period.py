"""Renewal dates as numbers that stay the same for months and then go up by one.

The number is an input of the resource: a renewal that is due shows in ``pulumi preview`` as a change of
exactly the certificates concerned, and an unchanged stack shows none.
"""

from __future__ import annotations

import os
import time
import zlib
from datetime import UTC, date, datetime

from jarvis.config.errors import ConfigurationError

# Days. A leaf lives a year by default and is renewed after half of its life: an operator who runs `pulumi up`
# twice a year never meets an expired one. An authority lives ten years: it is made one period before it
# signs, signs for one, and is trusted for one more, which is nine.
LEAF_DAYS = 365
AUTHORITY_RENEWAL = 3 * 365


def today() -> date:
    """The date in UTC, or the one in ``JARVIS_TODAY`` (such as 2026-01-31), which tests set.

    Raises:
        ConfigurationError: ``JARVIS_TODAY`` is not a date.
    """
    fixed = os.environ.get("JARVIS_TODAY")
    if not fixed:
        return datetime.fromtimestamp(time.time(), UTC).date()
    try:
        return date.fromisoformat(fixed)
    except ValueError:
        raise ConfigurationError(f"JARVIS_TODAY is {fixed!r}, and not a date such as 2026-01-31") from None


def renewal(days: int) -> int:
    """Days after which a leaf that lives ``days``, 2 at least, is renewed: half of them."""
    return days // 2


def period(name: str, length: int, day: date) -> int:
    """The number of the period that a day falls into.

    The name shifts where periods begin, so that not all items are renewed on one day.

    Args:
        name: name of the item.
        length: days of a period.
        day: the day.
    """
    shift = zlib.crc32(name.encode()) % length
    return ((day - date(1970, 1, 1)).days + shift) // length
