"""Who may do what in the cluster, beyond Kubernetes' own roles."""

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
    """The labels of a namespace whose pods Pod Security Admission holds to ``level``.

    Without them it is "baseline" (jarvis/kubernetes/admission.yaml), which allows no host ports.
    """
    return {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": "latest",
    }


def operators_binding(group: str) -> dict[str, Any]:
    """The ClusterRoleBinding that lets ``group``, and no former one, do anything. Deleting it takes the right
    from all operators."""
    return {
        "metadata": {"name": "jarvis:operators"},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """``provider``: of the cluster. ``operators``: the group of the operators' certificate."""

    provider: kubernetes.Provider
    operators: str


class Access(Component, token="kubernetes:Access"):
    """The API servers' right to the kubelets (logs, exec, metrics), and the operators' to everything.

    ``operators``: the latter, without which a kubeconfig opens nothing.
    """

    operators: objects.ClusterRoleBinding

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
        self.operators = objects.ClusterRoleBinding(
            f"{name}-operators", **operators_binding(args.operators), opts=self.in_cluster(args.provider)
        )
        self.register_outputs({})
