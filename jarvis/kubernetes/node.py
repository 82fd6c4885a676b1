"""A node: containerd, kubelet and kube-proxy on one server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from jarvis.config import Environment, Server, ServerRole
from jarvis.core.component import Component
from jarvis.core.text import fill_beside, read_beside
from jarvis.core.tls import CIPHER_SUITES
from jarvis.kubernetes.containerd import FOLDER as CONTAINERD
from jarvis.kubernetes.containerd import REGISTRY_NAME, containerd_config, registry_hosts
from jarvis.kubernetes.control_plane import NODE_LEASE_SECONDS
from jarvis.kubernetes.flags import command_line, merge_flags, merge_objects, to_yaml
from jarvis.kubernetes.identity import Identities, credentials
from jarvis.kubernetes.kubeconfig import file_kubeconfig
from jarvis.remote import File, HostService, HostServiceArgs
from jarvis.remote.script import read_file
from jarvis.roles import ROLES

if TYPE_CHECKING:
    from jarvis.hosts import Host
    from jarvis.pki import Certificate

KUBELET = "/etc/kubernetes/kubelet"
KUBE_PROXY = "/etc/kubernetes/kube-proxy"
BIN = "/var/lib/jarvis/bin"
# Mode of files that only root may read though they hold no secret: CIS 4.1.3, 4.1.5, 4.1.9.
OWN = "0600"
ROLE_LABEL = "jarvis.internal/"
# The server's own name servers, without the 127.0.0.53 of systemd-resolved, which no pod can reach.
RESOLV_CONF = "/run/systemd/resolve/resolv.conf"

# Most processes and threads of one pod, so that a fork bomb ends in its own pod. It is four times OpenShift's
# limit (4096), since some pods need many: a service has a few dozen, and one that runs virtual machines some
# for each. Debian's kernel has 4194304 (systemd: 50-pid-max.conf). A change applies to new pods.
POD_PIDS = 16384


def kubelet_config(env: Environment, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The KubeletConfiguration, with ``extra`` merged into it."""
    own: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{KUBELET}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{KUBELET}/client.crt",
        "tlsPrivateKeyFile": f"{KUBELET}/client.key",
        "tlsMinVersion": "VersionTLS12",
        "tlsCipherSuites": list(CIPHER_SUITES),
        "readOnlyPort": 0,
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDNS": [str(env.networks.cluster_dns)],
        "clusterDomain": env.networks.cluster_domain,
        "resolvConf": RESOLV_CONF,
        "nodeLeaseDurationSeconds": NODE_LEASE_SECONDS,
        "makeIPTablesUtilChains": False,
        "podPidsLimit": POD_PIDS,
        # Pods without a seccomp profile get RuntimeDefault, which all pods here ask for.
        "seccompDefault": True,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 3,
        "shutdownGracePeriod": "60s",
        "shutdownGracePeriodCriticalPods": "20s",
    }
    return merge_objects(own, extra)


def kube_proxy_config(env: Environment, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The KubeProxyConfiguration, with ``extra`` merged into it."""
    own: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{KUBE_PROXY}/kubeconfig"},
        "clusterCIDR": str(env.networks.pods),
        "detectLocalMode": "ClusterCIDR",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": ["primary"],
    }
    return merge_objects(own, extra)


def node_labels(server: Server) -> dict[str, str]:
    """Labels of the server's node: one for each server role, and those of the configuration."""
    return {**{f"{ROLE_LABEL}{role.value}": "true" for role in sorted(server.roles)}, **server.labels}


def label_patch(env: Environment, server: Server) -> str:
    """A merge patch that gives the node of ``server`` its labels, and removes those of former roles.

    A role that no server has is left out unless it is required: the kubelet restarts with the patch, and
    would do so everywhere because Jarvis has learnt one role more.
    """
    used = [role for role in ServerRole if ROLES[role].required or env.declared(role)]
    former = {f"{ROLE_LABEL}{role.value}": None for role in used}
    return json.dumps({"metadata": {"labels": {**former, **node_labels(server)}}}, indent=2)


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """One node.

    Attributes:
        host: the server.
        env: the environment.
        identities: certificates of the cluster.
        pause_image: reference of every pod's first container.
        registry_servers: addresses of the registry, the nearest first.
        registry_authority: certificates of the registry's authority in PEM.
        registry_client: client certificate for the registry.
        after: resources that change before anything of this node.
        after_kubelet: resources that the kubelet waits for: pod network, proxy, first API server.
    """

    host: Host
    env: Environment
    identities: Identities
    pause_image: pulumi.Input[str]
    registry_servers: Sequence[str]
    registry_authority: pulumi.Input[str]
    registry_client: Certificate
    after: Sequence[pulumi.Resource] = ()
    after_kubelet: Sequence[pulumi.Resource] = ()


class Node(Component, token="kubernetes:Node"):
    """containerd, kubelet and kube-proxy on one server.

    Restarting them does not restart pods.

    Attributes:
        containerd: containerd's role.
        kubelet: the kubelet's role, done when the API calls the node ready.
        proxy: kube-proxy's role.
        ready: kubelet and kube-proxy.
    """

    containerd: HostService
    kubelet: HostService
    proxy: HostService
    ready: list[HostService]

    def __init__(self, name: str, args: NodeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.containerd = self._containerd(name, args)
        self.kubelet = self._kubelet(name, args)
        self.proxy = self._proxy(name, args)
        self.ready = [self.kubelet, self.proxy]
        self.register_outputs({})

    def _containerd(self, name: str, args: NodeArgs) -> HostService:
        restrict = args.env.kubernetes.containerd_restrict_oom_score_adj
        config = pulumi.Output.from_input(args.pause_image).apply(
            lambda image: containerd_config(image, restrict_oom_score_adj=restrict)
        )
        folder = f"{CONTAINERD}/certs.d/{REGISTRY_NAME}"
        clear, secret = credentials(folder, args.registry_authority, args.registry_client)
        return HostService(
            f"{name}-containerd",
            "containerd",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(
                        path="/etc/systemd/system/containerd.service",
                        content=read_beside(__file__, "containerd.service"),
                    ),
                    File(path=f"{CONTAINERD}/config.toml", content=config),
                    File(
                        path=f"{folder}/hosts.toml",
                        content=registry_hosts(args.registry_servers, args.env.registry.port),
                    ),
                    *clear,
                ],
                secret_files=secret,
                units=["containerd.service"],
                inputs=[args.host.release],
                ready="ctr --connect-timeout $((2 * ${JARVIS_PATIENCE_FACTOR:-1}))s version >/dev/null",
                purge=["/var/lib/containerd", "/run/containerd"],
            ),
            self.child(depends_on=[args.host, *args.after]),
        )

    def _kubelet(self, name: str, args: NodeArgs) -> HostService:
        env, server, identities = args.env, args.host.server, args.identities
        pair = identities.server(
            f"kubelet-{server.name}",
            f"system:node:{server.name}",
            [server.name],
            [str(server.address)],
            organizations=["system:nodes"],
            client=True,
        )
        clear, secret = credentials(KUBELET, identities.authority.certificate, pair)
        labels = node_labels(server)
        flags = {
            "config": f"{KUBELET}/config.yaml",
            "kubeconfig": f"{KUBELET}/kubeconfig",
            "hostname-override": server.name,
            "node-ip": str(server.address),
            "node-labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        }
        line = command_line("/usr/bin/kubelet", merge_flags(flags, {}))
        return HostService(
            f"{name}-kubelet",
            "kubelet",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(
                        path="/etc/systemd/system/kubelet.service",
                        content=fill_beside(__file__, "kubelet.service", lines={"command": line}),
                    ),
                    File(
                        path=f"{KUBELET}/config.yaml",
                        content=to_yaml(kubelet_config(env, env.kubernetes.kubelet)),
                        mode=OWN,
                    ),
                    File(
                        path=f"{KUBELET}/kubeconfig",
                        content=file_kubeconfig(f"system:node:{server.name}", KUBELET),
                        mode=OWN,
                    ),
                    File(path=f"{KUBELET}/node-labels.json", content=label_patch(env, server)),
                    *(
                        File(
                            path=f"{BIN}/{script}",
                            content=read_file(f"kubernetes/{script}.sh"),
                            mode="0755",
                        )
                        for script in ("node-ready", "node-labels", "node-clean")
                    ),
                    *clear,
                ],
                secret_files=secret,
                units=["kubelet.service"],
                inputs=[args.host.release],
                ready=f"{BIN}/node-ready {server.name}",
                timeout=180,
                after=[f"{BIN}/node-labels {server.name}"],
                undo=[f"{BIN}/node-clean"],
                purge=[
                    "/var/lib/kubelet",
                    "/var/log/pods",
                    "/var/log/containers",
                    "/var/lib/cni",
                    "/run/cni",
                ],
            ),
            self.child(depends_on=[self.containerd, *args.after_kubelet]),
        )

    def _proxy(self, name: str, args: NodeArgs) -> HostService:
        env, identities = args.env, args.identities
        clear, secret = credentials(KUBE_PROXY, identities.authority.certificate, identities.proxy)
        return HostService(
            f"{name}-kube-proxy",
            "kube-proxy",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(
                        path="/etc/systemd/system/kube-proxy.service",
                        content=fill_beside(__file__, "kube-proxy.service", node=args.host.server.name),
                    ),
                    File(
                        path=f"{KUBE_PROXY}/config.yaml",
                        content=to_yaml(kube_proxy_config(env, env.kubernetes.kube_proxy)),
                    ),
                    File(
                        path=f"{KUBE_PROXY}/kubeconfig",
                        content=file_kubeconfig("system:kube-proxy", KUBE_PROXY),
                        mode=OWN,
                    ),
                    *clear,
                ],
                secret_files=secret,
                units=["kube-proxy.service"],
                inputs=[args.host.release],
                ready="curl --silent --show-error --fail --max-time $((3 * ${JARVIS_PATIENCE_FACTOR:-1}))"
                " --output /dev/null http://127.0.0.1:10256/livez",
                timeout=90,
            ),
            self.child(depends_on=[args.host, *args.after, *args.after_kubelet]),
        )
