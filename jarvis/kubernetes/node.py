"""What runs pods on one server: containerd, kubelet and kube-proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from jarvis.config import Environment, Role, Server
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

if TYPE_CHECKING:
    from jarvis.hosts import Host
    from jarvis.pki import Certificate

KUBELET = "/etc/kubernetes/kubelet"
KUBE_PROXY = "/etc/kubernetes/kube-proxy"
BIN = "/var/lib/jarvis/bin"
# What root alone reads, though it holds no secret: CIS 4.1.3, 4.1.5, 4.1.9.
OWN = "0600"
ROLE_LABEL = "jarvis.internal/"
# The file that lists the name servers a server itself uses, without systemd-resolved's own 127.0.0.53,
# which no pod could reach.
RESOLV_CONF = "/run/systemd/resolve/resolv.conf"

# Processes and threads of one pod: a bomb of forks ends in its own pod. Four times what OpenShift gives one
# (4096), since some hold much: a service has a few dozen, one that holds virtual machines has some of each.
# Debian's kernel counts to 4194304 (systemd: 50-pid-max.conf). It holds for pods that are made afterwards.
POD_PIDS = 16384


def kubelet_config(env: Environment, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The KubeletConfiguration; ``extra`` is laid over it."""
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
        # What says nothing of its own runs as if it had said RuntimeDefault, which all pods here say.
        "seccompDefault": True,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 3,
        "shutdownGracePeriod": "60s",
        "shutdownGracePeriodCriticalPods": "20s",
    }
    return merge_objects(own, extra)


def kube_proxy_config(env: Environment, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The KubeProxyConfiguration; ``extra`` is laid over it."""
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
    """The labels of the server's node: one for each role, and those of the configuration."""
    return {**{f"{ROLE_LABEL}{role.value}": "true" for role in sorted(server.roles)}, **server.labels}


def label_patch(labels: Mapping[str, str]) -> str:
    """A merge patch that gives a node ``labels``, and takes away those of roles that it has no more."""
    roles = {f"{ROLE_LABEL}{role.value}": None for role in Role}
    return json.dumps({"metadata": {"labels": {**roles, **labels}}}, indent=2)


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """One node.

    - ``host``, ``env``, ``identities``: where, of which environment, as whom.
    - ``pause_image``: reference of every pod's first container.
    - ``registry_servers``: addresses of the registry, the nearest first. ``registry_authority`` (PEM) and
      ``registry_client``: how images are pulled from there.
    - ``after``: what changes before anything of this node.
    - ``after_kubelet``: what the kubelet waits for: the pod network, the proxy, the first API server.
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
    """containerd, kubelet and kube-proxy on one server; ready when the API server calls the node ready.

    ``containerd``, ``kubelet`` and ``proxy`` are their resources. Their restart does not restart pods.
    """

    containerd: HostService
    kubelet: HostService
    proxy: HostService

    def __init__(self, name: str, args: NodeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.containerd = self._containerd(name, args)
        self.kubelet = self._kubelet(name, args)
        self.proxy = self._proxy(name, args)
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
                    File(path=f"{KUBELET}/node-labels.json", content=label_patch(labels)),
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
