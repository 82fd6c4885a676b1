"""Generated passwords."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from jarvis.pki.request import request
from jarvis.remote import LocalSecret, LocalSecretArgs


@dataclass(frozen=True, kw_only=True)
class PasswordArgs:
    """The length and the version of a password.

    Attributes:
        length: characters, 16 at least (95 bits).
        rotation: counter; raised by one to make the password anew.

    Raises:
        ValueError: it is shorter.
    """

    length: int = 32
    rotation: int = 0

    def __post_init__(self) -> None:
        if self.length < 16:
            raise ValueError(f"a password of {self.length} characters is too short: 16 at least")


class Password(LocalSecret):
    """A password of letters and digits, secret: ``value``."""

    def __init__(self, name: str, args: PasswordArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked = request("password", length=args.length, rotation=args.rotation)
        super().__init__(name, LocalSecretArgs(request=asked), opts)
