"""Certificates of servers and clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from jarvis.pki.authority import Authority
from jarvis.pki.period import LEAF_DAYS, period, renewal, today
from jarvis.pki.request import request
from jarvis.remote import LocalSecret, LocalSecretArgs


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """The content of a certificate.

    Attributes:
        authority: who signs it.
        common_name: at most 64 characters.
        organizations: of the subject; Kubernetes reads them as groups of the user.
        dns_names: DNS names of a server.
        addresses: IP addresses of a server.
        client: it is valid for a client.
        server: it is valid for a server.
        rotation: counter; raised by one to make the certificate anew.
        days: lifetime, 2 at least.

    Raises:
        ValueError: it is for neither client nor server, or for a server without name and address.
    """

    authority: Authority
    common_name: str
    organizations: Sequence[str] = ()
    dns_names: Sequence[str] = ()
    addresses: Sequence[str] = ()
    client: bool = True
    server: bool = False
    rotation: int = 0
    days: int = LEAF_DAYS

    def __post_init__(self) -> None:
        if not (self.client or self.server):
            raise ValueError(f"the certificate {self.common_name} is neither a client's nor a server's")
        if self.server and not (self.dns_names or self.addresses):
            raise ValueError(f"the server certificate {self.common_name} has neither DNS name nor address")


class Certificate(LocalSecret):
    """A certificate, renewed after half of its life, with its authority, or by ``rotation``.

    Attributes:
        certificate: the certificate in PEM.
        chain: the certificate followed by its issuer's.
        key: private key in PEM (PKCS #8), secret.
    """

    certificate: pulumi.Output[str]
    chain: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked = request(
            "certificate",
            authority={"common_name": args.authority.common_name, "key": args.authority.key},
            common_name=args.common_name,
            organizations=list(args.organizations),
            dns_names=list(args.dns_names),
            addresses=list(args.addresses),
            client=args.client,
            server=args.server,
            period=period(name, renewal(args.days), today()),
            rotation=args.rotation,
            days=args.days,
        )
        super().__init__(name, LocalSecretArgs(request=asked), opts)
        made = self.value.apply(json.loads)
        self.certificate = pulumi.Output.unsecret(made["certificate"])
        self.chain = pulumi.Output.all(self.certificate, args.authority.issuer).apply("".join)
        self.key = pulumi.Output.secret(made["key"])
