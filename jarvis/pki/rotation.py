"""Which secrets hold while clients change over from one to the next."""

from __future__ import annotations


def accepted(rotation: int) -> list[int]:
    """The numbers of the secrets that are accepted at ``rotation``, the current one first: the one before is
    too, so that clients change over one by one. After a theft it takes two rotations."""
    return [number for number in (rotation, rotation - 1) if number >= 0]
