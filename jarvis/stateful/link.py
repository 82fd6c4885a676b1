"""A stateful service of the servers, under a name inside the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.discovery import v1 as discovery

from jarvis.core.component import Component

_MANAGER = "jarvis"


@dataclass(frozen=True, kw_only=True)
class LinkArgs:
    """What is linked.

    - ``provider``: the cluster. ``namespace``: where the name lives.
    - ``service``: the name: ``<service>.<namespace>.svc``. ``port_name``, ``port``: TCP, inside and outside.
    - ``addresses``: IPv4 addresses of the servers that serve it.
    - ``after``: what must be there first, such as the namespace.

    Raises ``ValueError`` without any address: a name that leads nowhere.
    """

    provider: kubernetes.Provider
    namespace: pulumi.Input[str]
    service: str
    port_name: str
    port: int
    addresses: Sequence[str]
    after: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ValueError(f"the link {self.service} has no address")


class Link(Component, token="stateful:Link"):
    """A Service without selector, and the EndpointSlice that says which servers are behind it."""

    def __init__(self, name: str, args: LinkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        service = core.Service(
            name,
            metadata={
                "name": args.service,
                "namespace": args.namespace,
                # Pulumi waits for the Endpoints of a Service, which one without a selector never has.
                "annotations": {"pulumi.com/skipAwait": "true"},
            },
            spec={"ports": [{"name": args.port_name, "port": args.port, "protocol": "TCP"}]},
            opts=self.in_cluster(args.provider, depends_on=list(args.after)),
        )
        discovery.EndpointSlice(
            name,
            metadata={
                "name": args.service,
                "namespace": args.namespace,
                "labels": {
                    "kubernetes.io/service-name": args.service,
                    "endpointslice.kubernetes.io/managed-by": _MANAGER,
                },
            },
            address_type="IPv4",
            ports=[{"name": args.port_name, "port": args.port, "protocol": "TCP"}],
            endpoints=[{"addresses": [address], "conditions": {"ready": True}} for address in args.addresses],
            opts=self.in_cluster(args.provider, depends_on=[service]),
        )
        self.register_outputs({})
