"""When objects are ready, plainly: objects in, a verdict out."""

from __future__ import annotations

from typing import Any

import pytest

from toolchain.plugins.kubernetes import report
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.readiness import Progress, Related, awaited, progress

READY_SLICE = {"endpoints": [{"conditions": {"ready": True}}]}


def judge(kind: str, spec: Any, status: Any, related: Related | None = None, generation: int = 2) -> Progress:
    api_version, _, name = kind.rpartition("/")
    made = {
        "metadata": {"name": "x", "namespace": "n", "generation": generation},
        "spec": spec,
        "status": status,
    }
    return progress(Kind(api_version, name), made, related or Related())


def state(verdict: Progress) -> str:
    return "done" if verdict.done else "failed" if verdict.failed else "waiting"


def of(kind: str, value: str, reason: str = "R", message: str = "m") -> dict[str, str]:
    return {"type": kind, "status": value, "reason": reason, "message": message}


ROLLED = {
    "observedGeneration": 2,
    "replicas": 2,
    "updatedReplicas": 2,
    "availableReplicas": 2,
    "readyReplicas": 2,
}


@pytest.mark.parametrize(
    ("kind", "spec", "status", "expected"),
    [
        ("apps/v1/Deployment", {"replicas": 2}, ROLLED, "done"),
        ("apps/v1/Deployment", {"replicas": 2}, {**ROLLED, "observedGeneration": 1}, "waiting"),
        ("apps/v1/Deployment", {"replicas": 2}, {**ROLLED, "replicas": 3}, "waiting"),
        ("apps/v1/Deployment", {"replicas": 2}, {**ROLLED, "availableReplicas": 1}, "waiting"),
        ("apps/v1/Deployment", {"replicas": 0}, {"observedGeneration": 2}, "done"),
        ("apps/v1/Deployment", {}, {"observedGeneration": 2}, "waiting"),
        ("apps/v1/Deployment", {"paused": True}, {}, "done"),
        (
            "apps/v1/Deployment",
            {"replicas": 2},
            {"observedGeneration": 2, "conditions": [of("Progressing", "False", "ProgressDeadlineExceeded")]},
            "failed",
        ),
        (
            "apps/v1/Deployment",
            {"replicas": 2},
            # What the controller could not do it does again.
            {**ROLLED, "conditions": [of("Progressing", "False", "ReplicaSetCreateError")]},
            "waiting",
        ),
        ("apps/v1/ReplicaSet", {"replicas": 2}, ROLLED, "done"),
        ("apps/v1/ReplicaSet", {"replicas": 3}, ROLLED, "waiting"),
        (
            "apps/v1/StatefulSet",
            {"replicas": 2},
            {**ROLLED, "currentRevision": "a", "updateRevision": "a"},
            "done",
        ),
        (
            "apps/v1/StatefulSet",
            {"replicas": 2},
            {**ROLLED, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
            "waiting",
        ),
        ("apps/v1/StatefulSet", {"replicas": 2}, {**ROLLED, "readyReplicas": 1}, "waiting"),
        (
            "apps/v1/StatefulSet",
            {"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
            {**ROLLED, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"},
            "done",
        ),
        ("apps/v1/StatefulSet", {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, ROLLED, "done"),
        (
            "apps/v1/DaemonSet",
            {},
            {
                "observedGeneration": 2,
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 3,
                "numberAvailable": 3,
            },
            "done",
        ),
        (
            "apps/v1/DaemonSet",
            {},
            {
                "observedGeneration": 2,
                "desiredNumberScheduled": 3,
                "updatedNumberScheduled": 2,
                "numberAvailable": 3,
            },
            "waiting",
        ),
        ("apps/v1/DaemonSet", {}, {"observedGeneration": 1}, "waiting"),
        ("batch/v1/Job", {}, {"conditions": [of("Complete", "True")]}, "done"),
        ("batch/v1/Job", {}, {"conditions": [of("Failed", "True")]}, "failed"),
        ("batch/v1/Job", {}, {"conditions": [of("SuccessCriteriaMet", "True")]}, "waiting"),
        ("batch/v1/Job", {"suspend": True}, {}, "done"),
        ("batch/v1/Job", {}, {"startTime": "t", "active": 1}, "waiting"),
        ("v1/Pod", {}, {"phase": "Running", "conditions": [of("Ready", "True")]}, "done"),
        ("v1/Pod", {}, {"phase": "Running", "conditions": [of("Ready", "False")]}, "waiting"),
        ("v1/Pod", {}, {"phase": "Succeeded"}, "done"),
        ("v1/Pod", {}, {"phase": "Failed", "message": "m"}, "failed"),
        ("v1/Service", {}, {}, "done"),
        ("v1/Service", {"type": "ExternalName", "selector": {"a": "b"}}, {}, "done"),
        ("v1/Service", {"selector": {"a": "b"}}, {}, "waiting"),
        ("v1/Service", {"type": "LoadBalancer"}, {"loadBalancer": {}}, "waiting"),
        ("v1/Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "done"),
        ("v1/PersistentVolumeClaim", {}, {"phase": "Bound"}, "done"),
        ("v1/PersistentVolumeClaim", {}, {"phase": "Pending"}, "waiting"),
        ("v1/PersistentVolumeClaim", {}, {"phase": "Lost"}, "failed"),
        ("apiextensions.k8s.io/v1/CustomResourceDefinition", {}, {}, "waiting"),
        (
            "apiextensions.k8s.io/v1/CustomResourceDefinition",
            {},
            {"conditions": [of("Established", "True")]},
            "done",
        ),
        (
            "apiextensions.k8s.io/v1/CustomResourceDefinition",
            {},
            {"conditions": [of("NamesAccepted", "False")]},
            "failed",
        ),
        ("v1/ConfigMap", {}, {}, "done"),
    ],
)
def test_verdict(kind: str, spec: Any, status: Any, expected: str) -> None:
    assert state(judge(kind, spec, status)) == expected


def test_service_waits_for_a_ready_endpoint() -> None:
    spec = {"selector": {"a": "b"}}
    unready = {"endpoints": [{"conditions": {"ready": False}}]}
    assert state(judge("v1/Service", spec, {}, Related(lambda: [unready]))) == "waiting"
    assert state(judge("v1/Service", spec, {}, Related(lambda: [unready, READY_SLICE]))) == "done"


def test_claim_that_its_first_pod_binds() -> None:
    late = Related(storage_class=lambda: {"volumeBindingMode": "WaitForFirstConsumer"})
    assert state(judge("v1/PersistentVolumeClaim", {}, {"phase": "Pending"}, late)) == "done"


def test_what_is_not_waited_for() -> None:
    assert not awaited(Kind("v1", "ConfigMap"))
    assert not awaited(Kind("example.com/v1", "Deployment"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"conditions": [of("PodScheduled", "False", "Unschedulable", "no nodes")]},
            "[Unschedulable] no nodes",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "c",
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                        "lastState": {"terminated": {"exitCode": 3}},
                    }
                ]
            },
            "[c][CrashLoopBackOff] back-off (last exit code 3)",
        ),
        ({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, None),
        (
            {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 2}}}]},
            'container "c" exited with code 2',
        ),
        ({"containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]}, None),
    ],
)
def test_complaint_of_a_pod(status: Any, expected: str | None) -> None:
    text = report.complaint({"metadata": {"name": "p", "namespace": "n"}, "status": status})
    assert text == (None if expected is None else f"[Pod n/p]: {expected}")
