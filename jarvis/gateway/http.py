"""The HTTP gateway in the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.config import Environment, ServerRole
from jarvis.config.names import GATEWAY_NAMESPACE
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import RESTRICTED_CONTAINER, fingerprint, labels, patient, restricted_pod, selector
from jarvis.core.safety import guard
from jarvis.gateway.haproxy import DRAIN, INTERNAL_PORT, PAUSE, Route, TcpRoute, haproxy_config
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs

NAMESPACE = GATEWAY_NAMESPACE
# User and group of the image (images/haproxy/recipe.toml).
USER = 42425
PUBLIC_PORT = 8443
_NAME = "gateway"


@dataclass(frozen=True, kw_only=True)
class HttpGatewayArgs:
    """The services behind the gateway.

    Attributes:
        provider: the cluster.
        env: the environment.
        image: reference of HAProxy's image.
        routes: HTTP services.
        names: DNS names that its certificate is for.
        tcp_routes: TCP routes for pods.
    """

    provider: kubernetes.Provider
    env: Environment
    image: pulumi.Input[str]
    routes: Sequence[Route]
    names: Sequence[str]
    tcp_routes: Sequence[TcpRoute] = ()


class HttpGateway(Component, token="gateway:HttpGateway"):
    """HAProxy on every server with the role gateway, on the port ``gateway.https_port`` of the server.

    The virtual address has the port too, being an address of one of these servers. Pods of services are found
    by DNS, so their coming and going changes nothing here.

    Attributes:
        authority: signs the gateway's certificate; what clients trust.
        urls: URL of each route, by its name.
        address_urls: the same under the virtual address, for clients without DNS.
        ready: the DaemonSet. After it the virtual address stays where it is, unless a server fails.
    """

    authority: Authority
    urls: dict[str, str]
    address_urls: dict[str, str]
    ready: pulumi.Resource

    def __init__(self, name: str, args: HttpGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        self.urls = {route.name: route_url(env, route.host) for route in args.routes}
        bare = route_url(env, str(env.networks.virtual_address))
        self.address_urls = {route.name: f"{bare}{route.prefix}" for route in args.routes}
        self.authority = Authority(
            name,
            AuthorityArgs(common_name=f"{env.name} gateway", rotation=env.rotations.get(name, 0)),
            self.child(),
        )
        certificate = Certificate(
            f"{name}-certificate",
            CertificateArgs(
                authority=self.authority,
                common_name=_NAME,
                dns_names=sorted(args.names),
                addresses=[str(address) for address in env.held_addresses],
                client=False,
                server=True,
                rotation=env.rotations.get(f"{name}-certificate", 0),
            ),
            self.child(),
        )
        config = haproxy_config(
            routes=args.routes,
            cluster_domain=env.networks.cluster_domain,
            cluster_dns=env.networks.cluster_dns,
            addresses=env.held_addresses,
            # The bridge's address is the first one of its server's pod network.
            node_addresses=[env.pod_subnet(server)[1] for server in env.servers],
            tcp_routes=args.tcp_routes,
        )
        namespace = objects.Namespace(
            name,
            metadata={
                "name": NAMESPACE,
                # "baseline" allows no host port, so the namespace cannot enforce it. In all else the pods
                # keep to "restricted".
                "labels": {
                    f"pod-security.kubernetes.io/{mode}": "privileged"
                    for mode in ("enforce", "audit", "warn")
                },
            },
            opts=self.in_cluster(
                args.provider,
                protect=guard(f"namespace-{NAMESPACE}", f"the Namespace {NAMESPACE}, with all that is in it"),
            ),
        )
        own = self.in_cluster(args.provider, depends_on=[namespace])
        metadata = {"name": _NAME, "namespace": NAMESPACE, "labels": labels(_NAME, "haproxy", "jarvis")}
        config_map = objects.ConfigMap(name, metadata=metadata, data={"haproxy.cfg": config}, opts=own)
        pem = pulumi.Output.concat(certificate.chain, certificate.key)
        secret = objects.Secret(name, metadata=metadata, stringData={"server.pem": pem}, opts=own)
        revision = certificate.chain.apply(lambda chain: fingerprint([config, chain]))
        self.ready = objects.DaemonSet(
            name,
            metadata=metadata,
            spec=daemon_set_spec(
                image=args.image,
                port=env.gateway.https_port,
                revision=revision,
                tcp_routes=args.tcp_routes,
                patience=env.patience,
            ),
            opts=self.in_cluster(args.provider, depends_on=[config_map, secret]),
        )
        objects.Service(
            name,
            metadata=metadata,
            spec={
                "selector": selector(_NAME, "haproxy"),
                # Falls back to another node while the pod of this one is replaced, or where there is none.
                "trafficDistribution": "PreferSameNode",
                "ports": [
                    {"name": "https", "port": env.gateway.https_port, "targetPort": "https"},
                    *(
                        {"name": route.name, "port": route.port, "targetPort": route.port}
                        for route in args.tcp_routes
                    ),
                ],
            },
            opts=self.in_cluster(args.provider, depends_on=[self.ready]),
        )
        objects.PodDisruptionBudget(
            name,
            metadata=metadata,
            spec={"minAvailable": 1, "selector": {"matchLabels": selector(_NAME, "haproxy")}},
            opts=self.in_cluster(args.provider, depends_on=[self.ready]),
        )
        self.register_outputs({"urls": self.urls})


def in_cluster_names(env: Environment, names: Sequence[str]) -> dict[str, str]:
    """Names in the cluster's domain by which pods reach routes, by ``names`` of the routes.

    The name is that of the gateway on the pod's own node, so a lost server breaks no other server's way.
    Where some nodes have no gateway all pods use the virtual address, and the mapping is empty.
    """
    if any(ServerRole.GATEWAY not in server.roles for server in env.with_role(ServerRole.WORKER)):
        return {}
    return dict.fromkeys(names, gateway_host(env))


def gateway_host(env: Environment) -> str:
    """The gateway's name in the cluster's domain: the one on the pod's own node, where there is one."""
    return f"{_NAME}.{NAMESPACE}.svc.{env.networks.cluster_domain}"


def route_url(env: Environment, host: str) -> str:
    """URL of ``host`` at the gateway, without a path."""
    port = env.gateway.https_port
    return f"https://{host}" if port == 443 else f"https://{host}:{port}"


def daemon_set_spec(
    *,
    image: pulumi.Input[str],
    port: int,
    revision: pulumi.Input[str],
    tcp_routes: Sequence[TcpRoute] = (),
    patience: int = 1,
) -> dict[str, Any]:
    """The DaemonSet's specification.

    Args:
        image: reference of HAProxy's image.
        port: HTTPS port of the servers.
        revision: digest of what pods read at start; a new one rolls them.
        tcp_routes: TCP routes for pods.
        patience: the environment's factor for every limit of waiting.
    """
    template = _template(image, port, revision, tcp_routes)
    return {
        "selector": {"matchLabels": selector(_NAME, "haproxy")},
        # One server at a time; meanwhile another one holds the virtual address.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "minReadySeconds": 2,
        "template": patient(template, patience),
    }


def _template(
    image: pulumi.Input[str], port: int, revision: pulumi.Input[str], tcp_routes: Sequence[TcpRoute]
) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": labels(_NAME, "haproxy", "jarvis"),
            "annotations": {"jarvis.internal/revision": revision},
        },
        "spec": {
            "nodeSelector": {f"jarvis.internal/{ServerRole.GATEWAY.value}": "true"},
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "system-cluster-critical",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # Names of the cluster are resolved in full, without search domains.
            "dnsPolicy": "Default",
            "terminationGracePeriodSeconds": PAUSE + DRAIN + 5,
            "securityContext": restricted_pod(USER),
            "containers": [_container(image, port, tcp_routes)],
            "volumes": [
                {"name": "config", "configMap": {"name": _NAME}},
                {"name": "tls", "secret": {"secretName": _NAME, "defaultMode": 0o440}},
            ],
        },
    }


def _container(image: pulumi.Input[str], port: int, tcp_routes: Sequence[TcpRoute]) -> dict[str, Any]:
    def get(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "internal"}}

    return {
        "name": "haproxy",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": "https", "containerPort": PUBLIC_PORT, "hostPort": port, "protocol": "TCP"},
            {"name": "internal", "containerPort": INTERNAL_PORT, "protocol": "TCP"},
            *({"name": each.name, "containerPort": each.port, "protocol": "TCP"} for each in tcp_routes),
        ],
        "startupProbe": {**get("/live"), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**get("/ready"), "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**get("/live"), "periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": get("/drain")},
        "resources": {
            "requests": {"cpu": "100m", "memory": "96Mi"},
            # No CPU limit: throttling would only add latency.
            "limits": {"memory": "512Mi"},
        },
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/haproxy", "readOnly": True},
            {"name": "tls", "mountPath": "/run/haproxy", "readOnly": True},
        ],
    }
