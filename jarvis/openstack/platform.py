"""What all services of OpenStack share: a namespace, the database's name in it, and whom to trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.core import v1 as core

from jarvis.config import Environment
from jarvis.core.component import Component
from jarvis.core.pods import labels
from jarvis.stateful import Database, Link, LinkArgs
from jarvis.stateful.database import SERVICE
from jarvis.stateful.mariadb import PORT

# The ConfigMap of certificates of authorities, and the folder in which every pod finds them.
AUTHORITIES = "authorities"
AUTHORITIES_FOLDER = "/etc/jarvis/authorities"


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """``provider``: the cluster. ``database``: of all services. ``authorities``: further ones to trust, as
    certificates in PEM by a name, such as the gateway's."""

    provider: kubernetes.Provider
    env: Environment
    database: Database
    authorities: Mapping[str, pulumi.Input[str]]


class Platform(Component, token="openstack:Platform"):
    """The namespace ``openstack.namespace``, which admits pods of the standard "restricted" only.

    - ``namespace``: its name. ``provider``, ``env``, ``database``: as given.
    - ``trust``: the content of the ConfigMap ``AUTHORITIES``: certificates by file.
    """

    namespace: str
    provider: kubernetes.Provider
    env: Environment
    database: Database
    trust: pulumi.Output[dict[str, str]]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.namespace = args.env.openstack.namespace
        self.provider = args.provider
        self.env = args.env
        self.database = args.database
        namespace = core.Namespace(
            name,
            metadata={
                "name": self.namespace,
                "labels": {
                    f"pod-security.kubernetes.io/{mode}": "restricted"
                    for mode in ("enforce", "audit", "warn")
                },
            },
            opts=self.in_cluster(args.provider),
        )
        Link(
            f"{name}-database",
            LinkArgs(
                provider=args.provider,
                namespace=self.namespace,
                service=SERVICE,
                port_name="mysql",
                port=PORT,
                addresses=args.database.addresses,
                after=[namespace],
            ),
            self.child(),
        )
        trusted = {"database": args.database.authority.certificate, **args.authorities}
        self.trust = pulumi.Output.all(**{f"{each}.pem": text for each, text in trusted.items()})
        core.ConfigMap(
            f"{name}-{AUTHORITIES}",
            metadata={
                "name": AUTHORITIES,
                "namespace": self.namespace,
                "labels": labels(AUTHORITIES, "trust", "openstack"),
            },
            data=self.trust,
            opts=self.in_cluster(args.provider, depends_on=[namespace]),
        )
        self.register_outputs({})

    def authority_file(self, name: str) -> str:
        """Where a pod finds the certificate of the authority called ``name``."""
        return f"{AUTHORITIES_FOLDER}/{name}.pem"
