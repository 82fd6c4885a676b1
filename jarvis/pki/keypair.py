"""Key pairs that sign tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.pki.request import request
from jarvis.remote import LocalSecret, LocalSecretArgs


@dataclass(frozen=True, kw_only=True)
class KeyPairArgs:
    """Which of the key pairs signs.

    Attributes:
        rotation: counter; raised by one, never by more, to sign with a new key.
    """

    rotation: int = 0


class KeyPair(Component, token="pki:KeyPair"):
    """Key pairs of the curve P-256, one of which signs.

    Attributes:
        private: the signing key in PEM, secret.
        public: public keys in PEM: the signing one, the former and the next. While servers change one by one,
            each verifies what the others have signed.
    """

    private: pulumi.Output[str]
    public: pulumi.Output[str]

    def __init__(self, name: str, args: KeyPairArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        signing = args.rotation
        made = {
            number: LocalSecret(
                f"{name}-{number}",
                LocalSecretArgs(request=request("keypair", generation=number)),
                self.child(),
            ).value.apply(json.loads)
            for number in (signing, signing - 1, signing + 1)
            if number >= 0
        }
        self.private = pulumi.Output.secret(made[signing]["private"])
        public = [pulumi.Output.unsecret(pair["public"]) for pair in made.values()]
        self.public = pulumi.Output.all(*public).apply("".join)
        self.register_outputs({"public": self.public})
