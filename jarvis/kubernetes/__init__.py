"""Kubernetes: control plane, nodes, their network, DNS, and the address by which all is reached."""

from jarvis.kubernetes.access import namespace_labels
from jarvis.kubernetes.cluster import KubernetesCluster, KubernetesClusterArgs
from jarvis.kubernetes.node import ROLE_LABEL

__all__ = ["ROLE_LABEL", "KubernetesCluster", "KubernetesClusterArgs", "namespace_labels"]
