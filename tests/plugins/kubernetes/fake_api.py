"""An API server of one object, for the recordings: serves what a test puts there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition", "StorageClass"}
KINDS = {
    "v1": ["Namespace", "ConfigMap", "Secret", "Service", "Pod", "Event"],
    "apps/v1": ["Deployment"],
    "batch/v1": ["Job"],
    "discovery.k8s.io/v1": ["EndpointSlice"],
    "apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
    "jarvis.example/v1": ["Rack"],
}
NOT_FOUND = 404, {"kind": "Status", "reason": "NotFound", "message": "not found"}


class FakeApi:
    """A `Transport`.

    Attributes:
        there: the object served before a write; None: there is none.
        after: the object served after a write, and the answer to it; None: a write finds no namespace.
        refusal: when set, the answer to a write.
        requests: (method, path, query, body) of all but discovery.
    """

    def __init__(self) -> None:
        self.there: dict[str, Any] | None = None
        self.after: dict[str, Any] | None = None
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.without_kind = ""
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []

    def __call__(
        self, method: str, path: str, body: bytes | None, content_type: str, accept: str, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        status, answer = self._answer(method, parts.path, query, body)
        return status, {}, json.dumps(answer).encode()

    def _answer(self, method: str, path: str, query: dict[str, str], body: bytes | None) -> tuple[int, Any]:
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if path == "/openapi/v2":
            return 200, {}
        if version in KINDS:
            kinds = [kind for kind in KINDS[version] if kind != self.without_kind]
            return 200, {
                "resources": [
                    {"name": kind.lower() + "s", "kind": kind, "namespaced": kind not in CLUSTER_SCOPED}
                    for kind in kinds
                ]
            }
        self.requests.append((method, path, query, None if body is None else json.loads(body)))
        if "endpointslice" in path:
            return 200, {"items": [{"endpoints": [{"conditions": {"ready": True}}]}]}
        if path.endswith(("/pods", "/events")):
            return 200, {"items": []}
        if method == "GET":
            return (200, self.there) if self.there is not None else NOT_FOUND
        if self.refusal is not None:
            return self.refusal
        if method == "DELETE":
            gone, self.there = self.there, None
            return (200, gone) if gone is not None else NOT_FOUND
        if self.after is None:
            return NOT_FOUND
        if "dryRun" not in query:
            self.there = self.after
        return 200, self.after

    def writes(self) -> list[tuple[str, str, dict[str, str], Any]]:
        """What was asked to be changed for good."""
        return [request for request in self.requests if request[0] != "GET" and "dryRun" not in request[2]]
