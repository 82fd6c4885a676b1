"""Random symmetric keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi

from jarvis.pki.request import request
from jarvis.remote import LocalSecret, LocalSecretArgs


@dataclass(frozen=True, kw_only=True)
class RandomKeyArgs:
    """The size and the version of a key.

    Attributes:
        bytes: random bytes.
        encoding: alphabet of base64.
        rotation: counter; raised by one to make the key anew.
    """

    bytes: int = 32
    encoding: Literal["base64", "urlsafe"] = "base64"
    rotation: int = 0


class RandomKey(LocalSecret):
    """A random key in base64, secret: ``value``."""

    def __init__(self, name: str, args: RandomKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked = request("random-key", bytes=args.bytes, encoding=args.encoding, rotation=args.rotation)
        super().__init__(name, LocalSecretArgs(request=asked), opts)
