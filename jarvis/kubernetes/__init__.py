"""Kubernetes: control plane, nodes, pod network, DNS, and the virtual address."""

from jarvis.kubernetes.access import namespace_labels
from jarvis.kubernetes.cluster import KubernetesCluster, KubernetesClusterArgs
from jarvis.kubernetes.node import ROLE_LABEL

__all__ = ["ROLE_LABEL", "KubernetesCluster", "KubernetesClusterArgs", "namespace_labels"]
