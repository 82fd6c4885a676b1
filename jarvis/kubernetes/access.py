"""Rights in the cluster, beyond Kubernetes' own roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.kubernetes.identity import KUBELET_CLIENT

_RBAC = "rbac.authorization.k8s.io"


def namespace_labels(level: Literal["restricted", "baseline", "privileged"]) -> dict[str, str]:
    """Labels of a namespace whose pods Pod Security Admission holds to ``level``.

    The default, without labels, is "baseline" (jarvis/kubernetes/admission.yaml), which allows no host ports.
    """
    return {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": "latest",
    }


def operators_binding(group: str) -> dict[str, Any]:
    """The ClusterRoleBinding that lets ``group``, and no former group, do anything.

    Deleting it takes the right from all operators.
    """
    return {
        "metadata": {"name": "jarvis:operators"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """Who gets rights in the cluster.

    Attributes:
        provider: the cluster.
        operators: group of the operators' certificate.
    """

    provider: kubernetes.Provider
    operators: str


class Access(Component, token="kubernetes:Access"):
    """Rights of the API servers on kubelets (logs, exec, metrics), and of the operators on everything.

    Attributes:
        operators_ready: the operators' right, without which a kubeconfig opens nothing.
    """

    operators_ready: objects.ClusterRoleBinding

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        objects.ClusterRoleBinding(
            f"{name}-kubelets",
            metadata={"name": "jarvis:kube-apiserver-to-kubelet"},
            roleRef={
                "apiGroup": _RBAC,
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            subjects=[{"apiGroup": _RBAC, "kind": "User", "name": KUBELET_CLIENT}],
            opts=self.in_cluster(args.provider),
        )
        self.operators_ready = objects.ClusterRoleBinding(
            f"{name}-operators", **operators_binding(args.operators), opts=self.in_cluster(args.provider)
        )
        self.register_outputs({})
