"""The name of a linked service inside the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.stateful.link.service import LinkedService

if TYPE_CHECKING:
    from jarvis.hosts import Host

_MANAGER = "jarvis"


@dataclass(frozen=True, kw_only=True)
class LinkArgs:
    """A linked service, and the namespace where it gets a name.

    Attributes:
        provider: the cluster.
        namespace: namespace of the Service.
        service: the linked service.
        nodes: servers of the cluster, each of which has a proxy for it.
        after: resources to wait for, such as the namespace and the proxies.

    Raises:
        ValueError: there is no node, so the name would lead nowhere.
    """

    provider: kubernetes.Provider
    namespace: pulumi.Input[str]
    service: LinkedService
    nodes: Sequence[Host]
    after: Sequence[pulumi.Resource] = ()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError(f"the link {self.service.name} has no node with a proxy")


class Link(Component, token="stateful:Link"):
    """A Service without selector that leads each pod to the proxy of its own server.

    The EndpointSlice names the node of each proxy, and the Service leads to the local one only
    (https://kubernetes.io/docs/concepts/services-networking/service-traffic-policy/). A lost server breaks
    the way of its own pods and nobody else's, and the proxies alone know which members are healthy.
    """

    def __init__(self, name: str, args: LinkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        linked = args.service
        port = {"name": linked.name, "port": linked.port, "protocol": "TCP"}
        service = objects.Service(
            name,
            metadata={
                "name": linked.name,
                "namespace": args.namespace,
                # Pulumi waits for the Endpoints of a Service, and one without a selector never has any.
                "annotations": {"pulumi.com/skipAwait": "true"},
            },
            spec={"ports": [port], "internalTrafficPolicy": "Local"},
            opts=self.in_cluster(args.provider, depends_on=list(args.after)),
        )
        objects.EndpointSlice(
            name,
            metadata={
                "name": linked.name,
                "namespace": args.namespace,
                "labels": {
                    "kubernetes.io/service-name": linked.name,
                    "endpointslice.kubernetes.io/managed-by": _MANAGER,
                },
            },
            addressType="IPv4",
            ports=[port],
            endpoints=[
                {
                    "addresses": [str(node.server.address)],
                    "conditions": {"ready": True},
                    "nodeName": node.server.name,
                }
                for node in args.nodes
            ],
            opts=self.in_cluster(args.provider, depends_on=[service]),
        )
        self.register_outputs({})
