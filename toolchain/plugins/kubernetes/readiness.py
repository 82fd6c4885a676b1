"""When an object is ready: pure functions over objects as the API serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolchain.plugins.kubernetes.naming import Kind

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """How far an object is.

    Attributes:
        done: it is ready.
        message: one line for the operator.
        failed: it will not become ready any more.
    """

    done: bool
    message: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Related:
    """Objects that the readiness of another depends on; each given by a function, so that only what is needed
    is asked for.

    Attributes:
        endpoint_slices: of a Service.
        storage_class: of a PersistentVolumeClaim; None when there is none.
    """

    endpoint_slices: Callable[[], Sequence[Object]] = lambda: ()
    storage_class: Callable[[], Object | None] = lambda: None


def condition(obj: Object, kind: str) -> Object | None:
    """The status condition of that type."""
    for found in (obj.get("status") or {}).get("conditions") or []:
        if found.get("type") == kind:
            return dict(found)
    return None


def _is(found: Object | None, status: str) -> bool:
    return found is not None and found.get("status") == status


def _observed(obj: Object) -> bool:
    status = obj.get("status") or {}
    return int(status.get("observedGeneration", 0)) >= int(obj["metadata"].get("generation", 0))


def _count(obj: Object, name: str) -> int:
    return int((obj.get("status") or {}).get(name) or 0)


def _replicas(obj: Object) -> int:
    wanted = (obj.get("spec") or {}).get("replicas")
    return 1 if wanted is None else int(wanted)


def _deployment(obj: Object, related: Related) -> Progress:
    wanted = _replicas(obj)
    if (obj.get("spec") or {}).get("paused"):
        return Progress(True, "Deployment is paused")
    if not _observed(obj):
        return Progress(False, "Waiting for the controller to see the Deployment")
    progressing = condition(obj, "Progressing")
    if _is(progressing, "False") and progressing is not None:
        # Whatever else it failed at (a ReplicaSet that an API server that stops could not make any more) its
        # controller tries again by itself.
        given_up = progressing.get("reason") == "ProgressDeadlineExceeded"
        return Progress(False, f"[{progressing.get('reason')}] {progressing.get('message')}", failed=given_up)
    updated, available, total = (_count(obj, f"{name}eplicas") for name in ("updatedR", "availableR", "r"))
    if updated >= wanted and available >= wanted and total <= updated:
        return Progress(True, "Deployment initialization complete")
    if total > updated:
        return Progress(
            False, f"Waiting for {total - updated} old Pods to go ({available}/{wanted} available)"
        )
    return Progress(
        False,
        f"Waiting for app ReplicaSet to be available ({min(updated, available)}/{wanted} Pods available)",
    )


def _replica_set(obj: Object, related: Related) -> Progress:
    wanted, available = _replicas(obj), _count(obj, "availableReplicas")
    done = _observed(obj) and available >= wanted
    return Progress(done, f"{available}/{wanted} Pods available")


def _stateful_set(obj: Object, related: Related) -> Progress:
    wanted, ready = _replicas(obj), _count(obj, "readyReplicas")
    strategy = (obj.get("spec") or {}).get("updateStrategy") or {}
    if not _observed(obj):
        return Progress(False, "Waiting for the controller to see the StatefulSet")
    if ready < wanted or _count(obj, "replicas") > wanted:
        return Progress(False, f"Waiting for StatefulSet Pods to be ready ({ready}/{wanted} ready)")
    if strategy.get("type", "RollingUpdate") == "RollingUpdate" and wanted:
        partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        updated = _count(obj, "updatedReplicas")
        status = obj["status"]
        current = status.get("currentRevision") == status.get("updateRevision")
        if not current and updated < wanted - partition:
            return Progress(False, f"Waiting for StatefulSet to roll out ({updated}/{wanted} updated)")
        if not partition and not current:
            return Progress(False, "Waiting for StatefulSet to finish its roll-out")
    return Progress(True, "StatefulSet initialization complete")


def _daemon_set(obj: Object, related: Related) -> Progress:
    if not _observed(obj):
        return Progress(False, "Waiting for the controller to see the DaemonSet")
    wanted = _count(obj, "desiredNumberScheduled")
    updated, available = _count(obj, "updatedNumberScheduled"), _count(obj, "numberAvailable")
    strategy = ((obj.get("spec") or {}).get("updateStrategy") or {}).get("type")
    if available >= wanted and (updated >= wanted or strategy == "OnDelete"):
        return Progress(True, "DaemonSet initialization complete")
    return Progress(False, f"Waiting for DaemonSet Pods ({updated}/{wanted} updated, {available} available)")


def _job(obj: Object, related: Related) -> Progress:
    name = f'"{obj["metadata"].get("namespace")}/{obj["metadata"]["name"]}"'
    failed = condition(obj, "Failed")
    if _is(failed, "True") and failed is not None:
        return Progress(
            False, f"Job {name} failed: [{failed.get('reason')}] {failed.get('message')}", failed=True
        )
    if _is(condition(obj, "Complete"), "True"):
        return Progress(True, f"Job {name} succeeded")
    if (obj.get("spec") or {}).get("suspend"):
        return Progress(True, f"Job {name} is suspended")
    if not (obj.get("status") or {}).get("startTime"):
        return Progress(False, f"Waiting for Job {name} to start")
    counts = " | ".join(
        f"{key.capitalize()}: {_count(obj, key)}" for key in ("active", "succeeded", "failed")
    )
    return Progress(False, f"Waiting for Job {name} to succeed ({counts})")


def _pod(obj: Object, related: Related) -> Progress:
    status = obj.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded" or _is(condition(obj, "Ready"), "True"):
        return Progress(True, "Pod is ready")
    if phase == "Failed":
        text = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
        return Progress(False, f"Pod failed{': ' + text if text else ''}", failed=True)
    return Progress(False, f"Waiting for Pod to be ready (phase {phase or 'unknown'})")


def _service(obj: Object, related: Related) -> Progress:
    spec = obj.get("spec") or {}
    kind = spec.get("type", "ClusterIP")
    if kind == "LoadBalancer" and not ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return Progress(False, "Waiting for the load balancer's address")
    if kind == "ExternalName" or not spec.get("selector"):
        return Progress(True, "Service initialization complete")
    for found in related.endpoint_slices():
        for endpoint in found.get("endpoints") or []:
            # An absent condition means unknown, which counts as ready (EndpointConditions in the API).
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                return Progress(True, "Service initialization complete")
    return Progress(False, "Finding Pods to direct traffic to")


def _claim(obj: Object, related: Related) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Bound":
        return Progress(True, "PersistentVolumeClaim is bound")
    if phase == "Lost":
        return Progress(False, "the PersistentVolumeClaim's volume is lost", failed=True)
    found = related.storage_class()
    if found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return Progress(True, "PersistentVolumeClaim will be bound by its first Pod")
    return Progress(False, f"Waiting for PersistentVolumeClaim to be bound (phase {phase or 'unknown'})")


def _definition(obj: Object, related: Related) -> Progress:
    names = condition(obj, "NamesAccepted")
    if _is(names, "False") and names is not None:
        return Progress(False, f"[{names.get('reason')}] {names.get('message')}", failed=True)
    done = _is(condition(obj, "Established"), "True")
    return Progress(done, "Waiting for the CustomResourceDefinition to be established")


def _namespace(obj: Object, related: Related) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    return Progress(phase in (None, "Active"), f"Waiting for Namespace to be active (phase {phase})")


_RULES: dict[tuple[str, str], Callable[[Object, Related], Progress]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
# Seconds until an object that does not become ready is given up, as the official plugin's.
DEFAULT_SECONDS = 600.0


def awaited(kind: Kind) -> bool:
    """Whether objects of the kind are ready only after something has happened to them."""
    return (kind.group, kind.kind) in _RULES


def progress(kind: Kind, obj: Object, related: Related) -> Progress:
    """How far the object is; of a kind that needs no waiting: done."""
    rule = _RULES.get((kind.group, kind.kind))
    return Progress(True) if rule is None else rule(obj, related)
