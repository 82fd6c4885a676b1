"""What a failure tells: conditions, pods' complaints, their last events and log lines; no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from toolchain.plugins.common.errors import InitFailed
from toolchain.plugins.common.provider import Cancellation
from toolchain.plugins.common.values import Secret
from toolchain.plugins.kubernetes import report
from toolchain.plugins.kubernetes.client import Client
from toolchain.plugins.kubernetes.cluster import Cluster
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.provider import KubernetesProvider

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job", "namespace": "n", "uid": "u-job", "generation": 1},
    "spec": {"selector": {"matchLabels": {"job-name": "job"}}},
    "status": {
        "conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
        ]
    },
}
POD = {
    "metadata": {"name": "job-1", "namespace": "n", "uid": "u-pod"},
    "status": {
        "phase": "Failed",
        "containerStatuses": [{"name": "c", "ready": False, "state": {"terminated": {"exitCode": 3}}}],
    },
}
CRASHING = {
    "metadata": {"name": "web-1", "namespace": "n", "uid": "u-web"},
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "c",
                "ready": False,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 1}},
            }
        ],
    },
}


class Api:
    """A transport that knows a job, a pod, its events and its log."""

    def __init__(self, pod: dict[str, Any], log: str) -> None:
        self.pod, self.log = pod, log
        self.queries: list[tuple[str, dict[str, list[str]]]] = []

    def __call__(
        self, method: str, path: str, body: bytes | None, content_type: str, accept: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        self.queries.append((parts.path, query))
        if parts.path.endswith("/log"):
            return 200, {}, self.log.encode()
        return 200, {}, json.dumps(self._answer(method, parts.path, query)).encode()

    def _answer(self, method: str, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/version":
            return {}
        if path in ("/api/v1", "/apis/batch/v1"):
            kinds = {"pods": "Pod", "events": "Event"} if path == "/api/v1" else {"jobs": "Job"}
            return {"resources": [{"name": n, "kind": k, "namespaced": True} for n, k in kinds.items()]}
        if path.endswith("/events"):
            of = query["fieldSelector"][0].removeprefix("involvedObject.uid=")
            times = (3, 1, 2) if of == self.pod["metadata"]["uid"] else ()
            return {
                "items": [
                    {
                        "type": "Warning",
                        "reason": f"R{n}",
                        "message": "m",
                        "lastTimestamp": f"{n}",
                        "metadata": {},
                    }
                    for n in times
                ]
            }
        return {"items": [self.pod]} if path.endswith("/pods") else JOB


def test_details_of_a_failed_job() -> None:
    api = Api(POD, '{"json": "line"}\nsecond line\n')
    text = "\n".join(report.details(Client(api, Cancellation()), Kind("batch/v1", "Job"), JOB))
    assert 'container "c" exited with code 3' in text
    assert "last events of Pod job-1:\n  Warning R1: m\n  Warning R2: m\n  Warning R3: m" in text
    assert 'last log lines of Pod job-1, container c:\n  {"json": "line"}\n  second line' in text


@pytest.mark.parametrize(("pod", "previous"), [(POD, "false"), (CRASHING, "true")])
def test_the_log_is_that_of_the_run_that_failed(pod: dict[str, Any], previous: str) -> None:
    api = Api(pod, "line\n")
    report.details(Client(api, Cancellation()), Kind("batch/v1", "Job"), JOB)
    ((_, query),) = [item for item in api.queries if item[0].endswith("/log")]
    assert query["previous"] == [previous]


def test_a_secret_in_a_log_line_is_hidden() -> None:
    from test_kubernetes_rules import operation

    api = Api(POD, "connecting with hunter2-and-more, from-another-secret\n")
    made = KubernetesProvider()
    # Another resource's: the pod got it by reference.
    other = {"metadata": {"name": "s"}, "stringData": Secret({"k": "from-another-secret"})}
    made.check(operation("kubernetes:core/v1:Secret", news={"apiVersion": "v1", "kind": "Secret", **other}))
    made._reach.use(Cluster(Client(api, made.cancellation)))
    spec = {
        "template": {"spec": {"containers": [{"env": [{"name": "P", "value": Secret("hunter2-and-more")}]}]}}
    }
    metadata = {"name": "job", "namespace": "n"}
    news = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    with pytest.raises(InitFailed) as caught:
        made.update(operation("kubernetes:batch/v1:Job", id="n/job", news=news, olds={}))
    text = "\n".join(caught.value.reasons)
    assert "BackoffLimitExceeded" in text
    assert "connecting with [secret], [secret]" in text
    assert "hunter2" not in text
