"""Rings of symmetric keys, in the form that Keystone reads: a folder of files named by numbers.

File 0 is the staged key, which will encrypt next; the highest number is the primary, which encrypts; the rest
decrypt only. A rotation turns the staged key into the primary. While pods change over one by one, those of
the old ring decrypt by their staged key what those of the new one encrypt: no token is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.pki import RandomKey, RandomKeyArgs

# How often the fernet keys may be rotated, in seconds: once a day at most.
SHORTEST_ROTATION = 86_400


def max_active_keys(*, expiration: int, allow_expired_window: int, rotation: int = SHORTEST_ROTATION) -> int:
    """How many keys there must be for a token to be read as long as it may be: the formula of Keystone's
    documentation ("Fernet - Frequently Asked Questions"), all in seconds.

    ``expiration``: a token's life. ``allow_expired_window``: how long after it a service may still read it.
    ``rotation``: the shortest time between two rotations.
    """
    return math.ceil((expiration + allow_expired_window) / rotation) + 2


def ring(rotation: int, count: int) -> dict[str, int]:
    """The generation of the key in each file after ``rotation`` rotations, with ``count`` keys at most.

    Generation 0 is the first primary. Raises ``ValueError`` for fewer than two keys.
    """
    if count < 2:
        raise ValueError(f"a ring of {count} keys has no staged and primary key")
    oldest = max(0, rotation + 2 - count)
    return {
        "0": rotation + 1,
        **{str(generation + 1): generation for generation in range(oldest, rotation + 1)},
    }


@dataclass(frozen=True, kw_only=True)
class KeyRingArgs:
    """``rotation``: raised by one, never by more, to encrypt with the next key. ``count``: keys at most."""

    rotation: int = 0
    count: int = 3


class KeyRing(Component, token="openstack:KeyRing"):
    """A ring of fernet keys (32 random bytes in URL-safe base64). ``files``: each key, secret, by file."""

    files: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: KeyRingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.files = {
            file: RandomKey(
                f"{name}-{generation}", RandomKeyArgs(bytes=32, encoding="urlsafe"), self.child()
            ).value
            for file, generation in ring(args.rotation, args.count).items()
        }
        self.register_outputs({})
