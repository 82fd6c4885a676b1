"""What all services of OpenStack share: a namespace, stateful services' names in it, and whom to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.config import Environment
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import labels
from jarvis.core.safety import guard
from jarvis.openstack.model import AUTHORITIES
from jarvis.stateful import Database, Link, LinkArgs, LinkProxies, Queue

if TYPE_CHECKING:
    from jarvis.hosts import Host


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """What services share.

    Attributes:
        provider: the cluster.
        env: the environment.
        database: of all services.
        queue: likewise.
        links: the stateful services that get a name here.
        nodes: the servers of the cluster.
        authorities: further ones to trust, as certificates in PEM by a name, such as the gateway's.
        seen: what was found of what is registered in Keystone (``jarvis.drift``), as lines by the name of the
            Job that registers it.
    """

    provider: kubernetes.Provider
    env: Environment
    database: Database
    queue: Queue
    links: LinkProxies
    nodes: Sequence[Host]
    authorities: Mapping[str, pulumi.Input[str]]
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Platform(Component, token="openstack:Platform"):
    """The namespace ``openstack.namespace``, which admits pods of the standard "restricted" only.

    Attributes:
        namespace: its name.
        provider: as given.
        env: as given.
        database: as given.
        queue: as given.
        seen: as given.
        entries: what its services register in Keystone, for the next run (``jarvis.drift.registered.Entry``).
        trust: the content of the ConfigMap ``AUTHORITIES``: certificates by file.
    """

    namespace: str
    provider: kubernetes.Provider
    env: Environment
    database: Database
    queue: Queue
    trust: pulumi.Output[dict[str, str]]
    seen: Mapping[str, Sequence[str]]
    entries: list[dict[str, Any]]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.namespace = args.env.openstack.namespace
        self.provider = args.provider
        self.env = args.env
        self.database, self.queue = args.database, args.queue
        self.seen, self.entries = args.seen, []
        namespace = objects.Namespace(
            name,
            metadata={
                "name": self.namespace,
                "labels": {
                    f"pod-security.kubernetes.io/{mode}": "restricted"
                    for mode in ("enforce", "audit", "warn")
                },
            },
            opts=self.in_cluster(
                args.provider,
                protect=guard(
                    f"namespace-{self.namespace}", f"the Namespace {self.namespace}, with all that is in it"
                ),
            ),
        )
        for service in args.links.services:
            Link(
                f"{name}-{service.name}",
                LinkArgs(
                    provider=args.provider,
                    namespace=self.namespace,
                    service=service,
                    nodes=args.nodes,
                    after=[namespace, *args.links.ready],
                ),
                self.child(),
            )
        trusted = {
            "database": args.database.authority.certificate,
            "queue": args.queue.authority.certificate,
            **args.authorities,
        }
        self.trust = pulumi.Output.all(**{f"{each}.pem": text for each, text in trusted.items()})
        objects.ConfigMap(
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
