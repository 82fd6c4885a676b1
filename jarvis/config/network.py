"""The configuration of networks and names."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from jarvis.config.types import Address, DnsName, Network, Section

# At most 20 bits for hosts (kubernetes, cmd/kube-apiserver/app/options/validation.go), and at least the tenth
# address for the DNS, with some left after it.
_WIDEST, _NARROWEST = 12, 28


def _services(network: Network) -> Network:
    if not _WIDEST <= network.prefixlen <= _NARROWEST:
        raise ValueError(
            f"{network} is too {'large' if network.prefixlen < _WIDEST else 'small'} for Services:"
            f" the prefix may be from /{_WIDEST} to /{_NARROWEST}, such as 10.96.0.0/16"
        )
    return network


class Networks(Section):
    """The networks of an environment. None may overlap another."""

    management: Network = Field(description="where the servers' addresses are")
    pods: Network = Field(default="10.244.0.0/16", validate_default=True)
    services: Annotated[Network, AfterValidator(_services)] = Field(
        default="10.96.0.0/16", validate_default=True
    )
    node_prefix: int = Field(
        default=24, ge=20, le=28, description="prefix length of a server's part of `pods`"
    )
    virtual_address: Address = Field(description="address of the API and the gateway, held by one server")
    virtual_router_id: int = Field(
        default=88, ge=1, le=255, description="VRRP id, unique in the network (RFC 5798)"
    )
    cluster_domain: DnsName = "cluster.local"
    domain: DnsName = Field(
        default="jarvis.internal", description="names of the endpoints, such as identity.<domain>"
    )
    dns_servers: list[Address] = Field(
        default_factory=list,
        description="asked by the cluster's DNS for outside names; none: pods know no such names",
    )

    @property
    def cluster_dns(self) -> Address:
        """Address of the cluster's DNS Service: by convention the tenth of ``services``."""
        return self.services[10]

    @property
    def kubernetes_service(self) -> Address:
        """Address of the Service ``kubernetes``: the first of ``services``, as the API server chooses it."""
        return self.services[1]

    @property
    def pod_subnets(self) -> int:
        """How many servers can have a part of ``pods``."""
        return int(2 ** (self.node_prefix - self.pods.prefixlen))

    def pod_subnet(self, index: int) -> Network:
        """The part of ``pods`` with the number ``index``, from 0.

        Raises:
            IndexError: there are fewer parts.
        """
        if not 0 <= index < self.pod_subnets:
            raise IndexError(f"pods {self.pods} has no part number {index} of length /{self.node_prefix}")
        base = int(self.pods.network_address) + (index << (32 - self.node_prefix))
        return type(self.pods)((base, self.node_prefix))
