"""DNS of the cluster: CoreDNS on every node, for that node and its pods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.config import Environment
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import patient

NAMESPACE = "kube-system"
DNS_PORT, HEALTH_PORT, READY_PORT, METRICS_PORT = 5353, 8080, 8181, 9153
# The user of the image (images/coredns/recipe.toml).
USER = 42426
# Seconds that CoreDNS, and its clients, may cache an answer.
TTL_SECONDS = 5
_LABELS = {"app.kubernetes.io/name": "coredns"}


def corefile(
    *,
    cluster_domain: str,
    networks: Sequence[IPv4Network],
    domain: str,
    names: Sequence[str],
    virtual_address: IPv4Address,
    upstream: Sequence[IPv4Address],
    aliases: Mapping[str, str],
) -> str:
    """The configuration of CoreDNS.

    The servers' own resolv.conf is never read: it leads back here.

    Args:
        cluster_domain: domain that is answered from the cluster's Services.
        networks: networks whose reverse zones are answered from the cluster too.
        domain: domain of ``names`` and ``aliases``.
        names: full names that have the virtual address.
        virtual_address: the virtual address.
        upstream: DNS servers for everything else; without any, other names do not exist.
        aliases: full names, each with the name of the cluster's domain that it leads to.
    """
    zones = " ".join([cluster_domain, *map(str, networks)])
    forward = f"forward . {' '.join(map(str, upstream))}" if upstream else ""
    rest = forward or "template ANY ANY {\n        rcode NXDOMAIN\n    }"
    return f"""\
{zones} {{
    errors
    health :{HEALTH_PORT} {{
        lameduck 5s
    }}
    ready :{READY_PORT}
    prometheus :{METRICS_PORT}
    kubernetes {zones} {{
        pods disabled
        ttl {TTL_SECONDS}
    }}
    cache {TTL_SECONDS}
    loadbalance
}}
{domain} {{
    errors{_aliases(aliases)}
    hosts {{
        {virtual_address} {" ".join(names)}
        ttl {TTL_SECONDS}{_indented("fallthrough" if upstream else "")}
    }}{_indented(forward, 4)}
}}
. {{
    errors
    {rest}{_indented("cache 30" if upstream else "", 4)}
}}
"""


def _aliases(names: Mapping[str, str]) -> str:
    """Answers for aliases: a CNAME, and the addresses of the name that it leads to."""
    return "".join(
        f'\n    template IN ANY {name} {{\n        answer "{name}. {TTL_SECONDS} IN CNAME {target}."\n    }}'
        for name, target in names.items()
    )


def _indented(line: str, columns: int = 8) -> str:
    return f"\n{' ' * columns}{line}" if line else ""


@dataclass(frozen=True, kw_only=True)
class ClusterDnsArgs:
    """The names that the cluster's DNS answers.

    Attributes:
        env: the environment.
        provider: the cluster.
        image: reference of CoreDNS' image.
        names: names that have the virtual address.
        aliases: see ``corefile``.
        after: resources that the pods need.
    """

    env: Environment
    provider: kubernetes.Provider
    image: pulumi.Input[str]
    names: Sequence[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    after: Sequence[pulumi.Resource] = ()


class ClusterDns(Component, token="kubernetes:ClusterDns"):
    """CoreDNS behind the Service ``kube-dns``, at the tenth address of the services' network.

    A node and its pods use the CoreDNS of their own node, where it is ready. On another server it could be
    lost with that server: clients repeat a query from the same port, which kube-proxy sends to the same pod
    until that is known to be gone.

    Named ports of headless Services have SRV records: ``_<port>._tcp.<service>.<namespace>.svc.<domain>``.

    Attributes:
        service: the Service.
        daemon_set: the pods.
    """

    service: objects.Service
    daemon_set: objects.DaemonSet

    def __init__(self, name: str, args: ClusterDnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        networks = args.env.networks
        config = corefile(
            cluster_domain=networks.cluster_domain,
            networks=[networks.services, networks.pods],
            domain=networks.domain,
            names=args.names,
            virtual_address=networks.virtual_address,
            upstream=networks.dns_servers,
            aliases=args.aliases,
        )
        first = self.in_cluster(args.provider, depends_on=list(args.after))
        options = self.in_cluster(args.provider)
        account = objects.ServiceAccount(f"{name}-account", metadata=_metadata(), opts=first)
        role = objects.ClusterRole(
            f"{name}-role",
            metadata={"name": "jarvis:coredns"},
            rules=[
                {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
            opts=first,
        )
        binding = objects.ClusterRoleBinding(
            f"{name}-binding",
            metadata={"name": "jarvis:coredns"},
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role.metadata["name"],
            },
            subjects=[{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}],
            opts=options,
        )
        files = objects.ConfigMap(
            f"{name}-config", metadata=_metadata(), data={"Corefile": config}, opts=first
        )
        self.daemon_set = objects.DaemonSet(
            f"{name}-daemon-set",
            metadata=_metadata(),
            spec=daemon_set_spec(args.image, config, args.env.patience),
            opts=self.in_cluster(args.provider, depends_on=[account, binding, files]),
        )
        # Pulumi waits for endpoints of the Service, which are the DaemonSet's pods: so it comes after them,
        # not beside.
        self.service = objects.Service(
            f"{name}-service",
            metadata=_metadata("kube-dns"),
            spec={
                "clusterIP": str(networks.cluster_dns),
                "selector": _LABELS,
                "trafficDistribution": "PreferSameNode",
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns-tcp"},
                ],
            },
            opts=self.in_cluster(args.provider, depends_on=[self.daemon_set]),
        )
        self.register_outputs({})


def _metadata(name: str = "coredns") -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": _LABELS}


def daemon_set_spec(image: pulumi.Input[str], config: str, patience: int = 1) -> dict[str, Any]:
    """The DaemonSet's specification.

    Args:
        image: reference of CoreDNS' image.
        config: the Corefile; its digest in the pod's template rolls the pods after a change.
        patience: the environment's factor for every limit of waiting.
    """
    digest = hashlib.sha256(config.encode()).hexdigest()
    container = {
        "name": "coredns",
        "image": image,
        "args": ["-conf", "/etc/coredns/Corefile", "-dns.port", str(DNS_PORT)],
        # An API server that lost its power closes no connection. CoreDNS notices after 10 s rather than 45,
        # and learns from another one which endpoints are gone (client-go: apimachinery's util/net).
        "env": [
            {"name": "HTTP2_READ_IDLE_TIMEOUT_SECONDS", "value": "7"},
            {"name": "HTTP2_PING_TIMEOUT_SECONDS", "value": "3"},
        ],
        "ports": [
            {"name": "dns", "containerPort": DNS_PORT, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": DNS_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": READY_PORT}, "periodSeconds": 2},
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": HEALTH_PORT},
            "initialDelaySeconds": 20,
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 5,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    template = {
        "metadata": {"labels": _LABELS, "annotations": {"jarvis.internal/config": digest}},
        "spec": {
            "serviceAccountName": "coredns",
            "priorityClassName": "system-node-critical",
            "tolerations": [{"operator": "Exists"}],
            # The cluster's DNS would be CoreDNS itself.
            "dnsPolicy": "Default",
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 15,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
        },
    }
    return {
        "selector": {"matchLabels": _LABELS},
        # The successor answers before the pod goes, since its node has no other.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": patient(template, patience),
    }
