"""The secrets that are accepted while clients change from one to the next."""

from __future__ import annotations


def accepted(rotation: int) -> list[int]:
    """Numbers of the secrets that are accepted at ``rotation``, the current one first.

    The former one is accepted too, so that clients change one by one. After a theft it takes two rotations.
    """
    return [number for number in (rotation, rotation - 1) if number >= 0]
