"""Who may do what in the cluster, beyond Kubernetes' own roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_kubernetes as kubernetes

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.kubernetes.identity import KUBELET_CLIENT


def namespace_labels(level: Literal["restricted", "baseline", "privileged"]) -> dict[str, str]:
    """The labels of a namespace whose pods Pod Security Admission holds to ``level``.

    Without them it is "baseline" (jarvis/files/kubernetes/admission.yaml), which allows no host ports.
    """
    return {
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": "latest",
    }


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """``provider``: of the cluster."""

    provider: kubernetes.Provider


class Access(Component, token="kubernetes:Access"):
    """The API servers' right to the kubelets: logs, exec, metrics."""

    def __init__(self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        objects.ClusterRoleBinding(
            f"{name}-kubelets",
            metadata={"name": "jarvis:kube-apiserver-to-kubelet"},
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:kubelet-api-admin",
            },
            subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": KUBELET_CLIENT}],
            opts=self.in_cluster(args.provider),
        )
        self.register_outputs({})
