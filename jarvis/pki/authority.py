"""Certificate authorities with a rollover that leaves no gap."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.pki.period import AUTHORITY_RENEWAL, period, today
from jarvis.pki.request import request
from jarvis.remote import LocalSecret, LocalSecretArgs


@dataclass(frozen=True, kw_only=True)
class AuthorityArgs:
    """An authority's name and generation.

    Attributes:
        common_name: of the subject.
        rotation: counter; raised by one, never by more, to make the authority anew.
    """

    common_name: str
    rotation: int = 0


class Authority(Component, token="pki:Authority"):
    """A self-signed authority of ten years, renewed every three, or when ``rotation`` goes up.

    Three generations exist at any time: the former, the signing and the next one, and all three are trusted.
    When a generation ends servers are changed one by one, and each trusts the certificates of those that
    changed and those that did not: a rollover is one rolling ``pulumi up``. After a theft of the key rotate
    twice, since the stolen generation stays trusted until the second.

    Attributes:
        common_name: of the subject.
        certificate: certificates of all three generations in PEM, the signing one first: the trust bundle.
        issuer: certificate of the signing generation alone.
        key: its private key in PEM, secret.
    """

    common_name: str
    certificate: pulumi.Output[str]
    issuer: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(self, name: str, args: AuthorityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.common_name = args.common_name
        signing = generation(name, args.rotation)
        made = {
            number: LocalSecret(
                f"{name}-{number}",
                LocalSecretArgs(
                    request=request("authority", common_name=args.common_name, generation=number)
                ),
                self.child(
                    protect=guard(
                        f"{name}-{number}",
                        f"generation {number} of the authority {name}",
                        name,
                        # The next rotation removes the former generation.
                        ends=number < signing,
                    )
                ),
            ).value.apply(json.loads)
            for number in (signing, signing - 1, signing + 1)
        }
        certificates = [pulumi.Output.unsecret(one["certificate"]) for one in made.values()]
        self.issuer = certificates[0]
        self.certificate = pulumi.Output.all(*certificates).apply("".join)
        self.key = pulumi.Output.secret(made[signing]["key"])
        self.register_outputs({"certificate": self.certificate})


def generation(name: str, rotation: int) -> int:
    """The number of the generation of the authority ``name`` that signs today."""
    return period(name, AUTHORITY_RENEWAL, today()) + rotation
