"""Fields that others added to Jarvis' objects, taken from them for the object's own update to remove."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from jarvis.core.identity import Identity
from jarvis.core.objects import Mark
from jarvis.kubernetes.identity import Identities
from jarvis.remote import LocalCheck, LocalCheckArgs


@dataclass(frozen=True)
class TakenBack:
    """``address``: URL of the API. ``identities``: as whom it is asked."""

    address: str
    identities: Identities

    def take(self, name: str, one: Identity, mark: Mark, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """The resource ``name``, which takes the fields of ``mark`` in ``one``; that one's update follows."""
        identities = self.identities
        return LocalCheck(
            name,
            LocalCheckArgs(
                command="exec python3 jarvis/kubernetes/take_back.py",
                stdin=pulumi.Output.json_dumps(
                    {
                        "address": self.address,
                        "path": one.path,
                        "fields": json.loads(mark.take),
                        "seen": mark.text,
                        "authority": identities.authority.certificate,
                        "certificate": identities.admin.chain,
                        "key": identities.admin.key,
                    }
                ).apply(pulumi.Output.secret),
            ),
            opts,
        )
