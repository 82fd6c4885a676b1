"""When a certificate is made anew: a number that stays the same for months and then goes up by one.

The number is an input of the resource, so that a due renewal shows in ``pulumi preview`` as a change of
exactly the certificates concerned, and an unchanged stack shows none.
"""

from __future__ import annotations

import os
import time
import zlib
from datetime import UTC, date, datetime

from jarvis.config.errors import ConfigurationError

# Days. A leaf lives a year, where nothing else is asked for, and is made anew every half of its life: whoever
# runs `pulumi up` twice in that time never meets an expired one. An authority lives ten years: it is made one
# period before it signs, signs for one, and is trusted for one more, which is nine.
LEAF_DAYS = 365
AUTHORITY_RENEWAL = 3 * 365


def today() -> date:
    """The date in UTC, or the one that ``JARVIS_TODAY`` (as in 2026-01-31) fixes for a test.

    Raises ``ConfigurationError`` where that is not a date.
    """
    fixed = os.environ.get("JARVIS_TODAY")
    if not fixed:
        return datetime.fromtimestamp(time.time(), UTC).date()
    try:
        return date.fromisoformat(fixed)
    except ValueError:
        raise ConfigurationError(f"JARVIS_TODAY is {fixed!r}, and not a date such as 2026-01-31") from None


def renewal(days: int) -> int:
    """After how many days a leaf that lives ``days``, 2 at least, is made anew: half of them."""
    return days // 2


def period(name: str, length: int, day: date) -> int:
    """The number of the period of ``length`` days in which ``day`` falls, for the item called ``name``.

    The name shifts where its periods begin, so that not all items are renewed on one day.
    """
    shift = zlib.crc32(name.encode()) % length
    return ((day - date(1970, 1, 1)).days + shift) // length
