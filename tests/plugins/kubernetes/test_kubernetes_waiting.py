"""Waiting outlives an API server that restarts, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_kubernetes_rules import operation

from toolchain.plugins.common.provider import Cancellation
from toolchain.plugins.kubernetes import waiting
from toolchain.plugins.kubernetes.client import Client
from toolchain.plugins.kubernetes.naming import Kind

KIND = Kind("v1", "Pod")
POD = {"metadata": {"name": "p", "namespace": "n", "uid": "1"}}
READY = {**POD, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
GONE = {"kind": "Status", "reason": "NotFound", "message": "not found"}
REFUSED = b"dial tcp: connect: connection refused"


class Api:
    """Gives these answers about the pod, one after the other; None: a connection that ends."""

    def __init__(self, *answers: tuple[int, Any] | None) -> None:
        self.left = list(answers)

    def __call__(self, method: str, path: str, *_: Any) -> tuple[int, dict[str, str], bytes]:
        if path == "/api/v1":
            return (
                200,
                {},
                json.dumps({"resources": [{"kind": "Pod", "name": "pods", "namespaced": True}]}).encode(),
            )
        if not path.endswith("/p"):
            return 200, {}, b'{"items": []}'
        answer = self.left.pop(0)
        if answer is None:
            raise ConnectionResetError("cut")
        status, body = answer
        return status, {}, body if isinstance(body, bytes) else json.dumps(body).encode()


def test_until_ready_while_the_server_restarts() -> None:
    api = Api((500, REFUSED), None, (503, b"starting"), (200, READY))
    found = waiting.until_ready(Client(api, Cancellation()), KIND, POD, 30.0, operation("x"))
    assert found == READY
    assert api.left == []


def test_until_gone_while_the_server_restarts() -> None:
    api = Api((200, POD), None, (500, REFUSED), (404, GONE))
    client = Client(api, Cancellation())
    waiting.until_gone(client, ("/api/v1/namespaces/n/pods/p", "1"), 30.0, operation("x"))
    assert api.left == []


def test_a_server_that_stays_away_ends_the_wait() -> None:
    api = Api(*[(500, REFUSED)] * 100)
    with pytest.raises(waiting.NotReady, match="timed out waiting to be Ready"):
        waiting.until_ready(Client(api, Cancellation()), KIND, POD, 0.3, operation("x"))


def test_an_object_that_goes_is_not_waited_for() -> None:
    api = Api((404, GONE))
    with pytest.raises(waiting.NotReady, match="was deleted by somebody else"):
        waiting.until_ready(Client(api, Cancellation()), KIND, POD, 30.0, operation("x"))
