"""Names and addresses that are taken already, by Kubernetes, Debian or a standard."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from jarvis.config.types import Place

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

# Namespaces of Kubernetes and the gateway. The prefix kube- is reserved too
# (https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/).
GATEWAY_NAMESPACE = "gateway"
_NAMESPACES = {
    "default": "Kubernetes'",
    GATEWAY_NAMESPACE: "the gateway's",
}
# Names in Debian's /etc/hosts for the server itself, or for the network (RFC 6761, RFC 4291).
_LOCAL = (
    "localhost",
    "broadcasthost",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-localhost",
    "ip6-localnet",
    "ip6-loopback",
    "ip6-mcastprefix",
)
# RFC 6761 and RFC 6762: names below these are not looked up in DNS, or do not exist there.
_SPECIAL_DOMAINS = ("invalid", "localhost", "onion")
_UNROUTED = {
    "0.0.0.0/8": "this host",
    "127.0.0.0/8": "the loopback interface",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "nobody",
}


def names(env: Environment) -> Iterator[tuple[Place, str]]:
    """Names and addresses of ``env`` that are somebody else's, one sentence for each field."""
    yield from _servers(env)
    yield from _domains(env)
    yield from _networks(env)
    yield from _dns_servers(env)
    namespace = env.openstack.namespace
    owner = _NAMESPACES.get(namespace, "Kubernetes'" if namespace.startswith("kube-") else "")
    if owner:
        yield ("openstack", "namespace"), f"{namespace} is {owner}: take another one, such as openstack"


def _servers(env: Environment) -> Iterator[tuple[Place, str]]:
    for at, server in enumerate(env.servers):
        if server.name in _LOCAL:
            text = f"{server.name} is what every server calls itself or its network: take another name"
            yield ("servers", at, "name"), text


def _domains(env: Environment) -> Iterator[tuple[Place, str]]:
    cluster, domain = env.networks.cluster_domain, env.networks.domain
    for field, value in (("cluster_domain", cluster), ("domain", domain)):
        special = next((each for each in _SPECIAL_DOMAINS if f".{value}".endswith(f".{each}")), "")
        if special:
            yield (
                ("networks", field),
                f"no DNS server is asked for names below {special}: take another domain",
            )
    if domain == cluster or domain.endswith(f".{cluster}"):
        text = (
            f"{domain} is {'' if domain == cluster else 'below '}the cluster's own domain"
            f" (networks.cluster_domain: {cluster}), whose DNS answers for Services: take another one"
        )
        yield ("networks", "domain"), text


def _networks(env: Environment) -> Iterator[tuple[Place, str]]:
    for field in ("management", "pods", "services"):
        network = getattr(env.networks, field)
        whose = next((who for each, who in _UNROUTED.items() if network.overlaps(IPv4Network(each))), "")
        if whose:
            yield (
                ("networks", field),
                f"{network} has addresses of {whose}: take a private network (RFC 1918)",
            )


def _dns_servers(env: Environment) -> Iterator[tuple[Place, str]]:
    networks = env.networks
    for at, address in enumerate(networks.dns_servers):
        if address == networks.cluster_dns or address in networks.services:
            whose = "the cluster's own DNS, which would ask itself"
        elif address in networks.pods:
            whose = "a pod's"
        elif address in env.held_addresses:
            whose = "the virtual address, where no DNS is"
        elif any(address in IPv4Network(each) for each in _UNROUTED):
            whose = "no server's that a pod could reach"
        else:
            continue
        yield ("networks", "dns_servers", at), f"{address} is {whose}: name the DNS server of your network"
