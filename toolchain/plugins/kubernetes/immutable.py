"""Which fields cannot change in place, and so the difference of two inputs.

The list is the official plugin's (provider/pkg/provider/diff.go), that both replace in the same cases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolchain.plugins.common.diff import Diff, compare
from toolchain.plugins.common.diff import Kind as Change
from toolchain.plugins.common.values import reveal
from toolchain.plugins.kubernetes import objects
from toolchain.plugins.kubernetes.naming import AUTONAMED, Kind, annotated

_IDENTITY = ("metadata.name", "metadata.namespace")
_POD = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes",
]
_CONTAINER = [
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
]
_VOLUME = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
]
_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): ("spec.selector",),
    ("apps", "Deployment"): ("spec.selector",),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("", "PersistentVolume"): tuple(f"spec.{name}" for name in _VOLUME),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("", "Pod"): tuple(f"spec.{name}" for name in _POD)
    + tuple(f"spec.{group}[*].{name}" for group in ("containers", "initContainers") for name in _CONTAINER),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}


def immutable_fields(
    kind: Kind, news: Mapping[str, Any], *, secret_mutable: bool, config_map_mutable: bool
) -> tuple[str, ...]:
    """Paths of fields whose change takes a new object ("spec.selector"; "[*]" stands for any index).

    Args:
        kind: the object's kind.
        news: its new inputs; `immutable: true` is looked at.
        secret_mutable, config_map_mutable: the provider's settings; false replaces on changed data.
    """
    fields = _IDENTITY + _FIELDS.get((kind.group, kind.kind), ())
    fixed = news.get("immutable") is True
    if kind == Kind("v1", "Secret") and (fixed or not secret_mutable):
        fields += ("stringData", "data")
    if kind == Kind("v1", "ConfigMap") and (fixed or not config_map_mutable):
        fields += ("binaryData", "data")
    return fields


def _steps(path: str) -> list[str]:
    return re.findall(r'\["(?:[^"\\]|\\.)*"\]|\[[^\]]*\]|[^.\[\]]+', path)


def lies_in(path: str, field: str) -> bool:
    """Whether a changed path is the field or within it, or the whole list that has it in each item."""
    steps, wanted = _steps(path), _steps(field)
    if "[*]" in wanted and steps == wanted[: wanted.index("[*]")]:
        return True
    return len(steps) >= len(wanted) and all(
        want in (step, "[*]") for step, want in zip(steps, wanted, strict=False)
    )


def difference(
    kind: Kind, outputs: Mapping[str, Any], news: Mapping[str, Any], fields: tuple[str, ...]
) -> Diff:
    """What changes from the live object in a state to new inputs (plain values; unknowns allowed).

    The live object counts in the fields that the old inputs have, so that a change that somebody else made is
    seen once a refresh has read it, and what the server added is not.

    Args:
        kind: the object's kind.
        outputs: the state, with the old inputs in it.
        news: the new inputs.
        fields: paths that cannot change in place.
    """
    live = objects.live(outputs)
    old = objects.prune(live, reveal(objects.normalized(outputs.get("__inputs") or {}, kind)))
    new = reveal(objects.normalized(news, kind))
    live_metadata = live.get("metadata") or {}
    for side, metadata in ((old, live_metadata), (new, new.get("metadata"))):
        _place(side, metadata, kind)
    if new.get("metadata", {}).get("name"):
        old["metadata"]["name"] = live_metadata.get("name")
    changes = compare(old, new)
    replaces = {path for path in changes if any(lies_in(path, field) for field in fields)}
    replaces |= {path for path, change in changes.items() if path == "metadata" and change is Change.DELETE}
    # An object of a given name must go before its successor can come; one of a made-up name need not.
    same_name = all(new["metadata"].get(key) == old["metadata"].get(key) for key in ("name", "namespace"))
    return Diff(
        changes=changes,
        replaces=replaces,
        delete_before_replace=bool(replaces) and same_name and not annotated(news, AUTONAMED),
        inputs={path for path, change in changes.items() if change is Change.DELETE},
    )


def _place(side: dict[str, Any], metadata: Any, kind: Kind) -> None:
    """Name the namespace, or none, so that one which is only implied is no difference."""
    if metadata is not None and not isinstance(metadata, Mapping):
        return
    inside = dict(side.get("metadata") or {})
    inside.pop("namespace", None)
    if kind.namespaced is not False:
        inside["namespace"] = (metadata or {}).get("namespace") or "default"
    side["metadata"] = inside
