"""The role of servers with Kubernetes' control plane."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Source, User

# Gateways have it too: see there.
KUBERNETES_API = Opening(use="Kubernetes API", sources=(Source.EVERYONE,))

ROLE = HostRole(
    name="control-plane",
    required=True,
    needs=("worker",),
    packages=("keepalived",),
    users=(User(name="kubernetes", home="/var/lib/kubernetes"),),
    # https://kubernetes.io/docs/reference/networking/ports-and-protocols/
    listens=(
        Listens(whose="the API server", ports=(6443,), opening=KUBERNETES_API),
        Listens(whose="the controller manager", ports=(10257,)),
        Listens(whose="the scheduler", ports=(10259,)),
    ),
    secrets=(
        "kubernetes-admin",
        "kubernetes-ca",
        "kubernetes-controller-manager",
        "kubernetes-encryption",
        "kubernetes-etcd-client",
        "kubernetes-front-proxy-ca",
        "kubernetes-front-proxy-client",
        "kubernetes-health",
        "kubernetes-kubelet-client",
        "kubernetes-operator",
        "kubernetes-scheduler",
        "kubernetes-service-accounts",
    ),
    server_secrets=("kubernetes-apiserver",),
    held=(
        "kubernetes-ca",
        "kubernetes-front-proxy-ca",
        "kubernetes-encryption",
        "kubernetes-service-accounts",
        "etcd-authority",
    ),
)
