"""The role of servers with a node of Kubernetes."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening

ROLE = HostRole(
    name="worker",
    required=True,
    packages=("ethtool", "iptables", "jq"),
    # https://kubernetes.io/docs/reference/networking/ports-and-protocols/
    listens=(
        Listens(whose="the proxy to the API servers", ports=(7443,)),
        # Health.
        Listens(whose="the kubelet", ports=(10248,)),
        Listens(
            whose="the kubelet",
            ports=(10250,),
            opening=Opening(use="kubelet", sources=("control-plane",)),
        ),
        Listens(whose="kube-proxy", ports=(10249, 10256)),
    ),
    secrets=("kubernetes-proxy",),
    server_secrets=("kubernetes-kubelet",),
    held=("kubernetes-ca", "registry-authority"),
)
