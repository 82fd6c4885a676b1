"""Fields that the pods of all components share, as pure functions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Any

# Seconds after which pods of a lost server are replaced; Kubernetes' default is five minutes. A server that
# only restarts is back by then, and would start the same programs beside their replacements.
GONE_AFTER_SECONDS = 120
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

# Every field of a container that the Pod Security Standard "restricted" requires, and a read-only root.
RESTRICTED_CONTAINER: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
}


def restricted_pod(user: int) -> dict[str, Any]:
    """The security context of a pod that runs as one unprivileged user.

    Args:
        user: id of the user and group that the processes run as and that mounted secrets belong to.
    """
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def labels(name: str, component: str, part_of: str) -> dict[str, str]:
    """The labels that Kubernetes recommends for an object. ``name`` and ``component`` select its pods."""
    return {
        **selector(name, component),
        "app.kubernetes.io/part-of": part_of,
        "app.kubernetes.io/managed-by": "jarvis",
    }


def selector(name: str, component: str) -> dict[str, str]:
    """The labels that select the pods of ``component`` of ``name``. They never change."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/component": component}


def leave_lost_servers() -> list[dict[str, Any]]:
    """Tolerations that move a pod off a lost server after ``GONE_AFTER_SECONDS``."""
    return [
        {
            "key": f"node.kubernetes.io/{trouble}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": GONE_AFTER_SECONDS,
        }
        for trouble in ("not-ready", "unreachable")
    ]


def spread_over_servers(match: Mapping[str, str], *, each_revision: bool = True) -> list[dict[str, Any]]:
    """A constraint that spreads pods evenly over the servers.

    Lost servers do not count, so the last one left takes all pods.

    Args:
        match: labels of the pods.
        each_revision: spread the pods of each revision by themselves, rather than all together.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": dict(match)},
            **({"matchLabelKeys": ["pod-template-hash"]} if each_revision else {}),
        }
    ]


def fingerprint(parts: Iterable[str], key: str = "") -> str:
    """A digest of ``parts`` in their order: 32 hexadecimal digits that change when any part does.

    Args:
        parts: the texts.
        key: a generated key of 128 bits or more. Required where a part is secret: the digest is public, and
            without a key anybody could test guesses of a weak secret against it.
    """
    code = hmac.new(key.encode(), digestmod=hashlib.sha256)
    for part in parts:
        code.update(f"{len(part.encode())}:".encode())
        code.update(part.encode())
    return code.hexdigest()[:32]


def patient(template: Mapping[str, Any], patience: int) -> dict[str, Any]:
    """The pod ``template`` with slower probes: ``patience`` times the timeouts, and the time to start.

    Kubernetes gives a probe one second where it names no timeout (Probe v1, timeoutSeconds).

    Args:
        template: a PodTemplateSpec.
        patience: the environment's factor for every limit of waiting; 1 changes nothing.
    """
    if patience == 1:
        return dict(template)
    spec = template["spec"]
    containers = [{**each, **_slow_probes(each, patience)} for each in spec["containers"]]
    return {**template, "spec": {**spec, "containers": containers}}


def _slow_probes(container: Mapping[str, Any], patience: int) -> dict[str, Any]:
    slow: dict[str, Any] = {}
    for kind in _PROBES:
        probe = container.get(kind)
        if probe is None:
            continue
        slow[kind] = {**probe, "timeoutSeconds": patience * probe.get("timeoutSeconds", 1)}
        if kind == "startupProbe":
            slow[kind]["failureThreshold"] = patience * probe["failureThreshold"]
    return slow
