"""Node labels: the syntax of Kubernetes, and which labels a kubelet may set on its own node."""

from __future__ import annotations

import re

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LONGEST_PREFIX = 253
_ROLES = "jarvis.internal"
# The kubelet refuses to start with any other label of Kubernetes' own domains:
# k8s.io/kubelet v0.37.2, pkg/apis/well_known_labels.go.
_DOMAINS = ("kubernetes.io", "k8s.io")
_OPEN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OPEN = (
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
)
# Labels that a kubelet may set too, and sets by itself.
_KUBELETS = (
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
)


def label_mistake(key: str, value: str) -> str:
    """Why a kubelet would not start with the label ``key`` of ``value``; empty where it would."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _LONGEST_PREFIX or not _PREFIX.fullmatch(prefix)):
        return f"{prefix!r} before the / is not a DNS name such as example.org"
    if not _NAME.fullmatch(name):
        return (
            f"{name!r} is not the name of a label: 1 to 63 letters of ASCII, digits, -, _ and .,"
            " with a letter or digit first and last"
        )
    if value and not _NAME.fullmatch(value):
        return (
            f"{value!r} is not the value of a label: up to 63 letters of ASCII, digits, -, _ and .,"
            " with a letter or digit first and last"
        )
    if prefix == _ROLES:
        return f"labels of {_ROLES} follow from the roles of the server: remove it, and set roles"
    if key in _KUBELETS:
        return "the kubelet gives this label by itself: remove it"
    if _within(prefix, _DOMAINS) and key not in _OPEN and not _within(prefix, _OPEN_PREFIXES):
        return (
            "the kubelet does not start with this label of Kubernetes' own: it may have"
            f" {', '.join(_OPEN[:2])}, and names below {' and '.join(_OPEN_PREFIXES)};"
            f" take a domain of yours, such as example.org/{name}"
        )
    return ""


def _within(prefix: str, domains: tuple[str, ...]) -> bool:
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)
