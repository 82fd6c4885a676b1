"""Objects that the pinned API server takes, and mistakes that it refuses, and what `openapi.py` says of each.

`tests/plugins/kubernetes/test_kubernetes_openapi.py` asks the server.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

ABSENT = object()


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "labels": {"app": name}}


def _deployment() -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "registry.example/web:1",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "MODE", "value": "plain"}],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53},
        ],
        # Of the engine's protocol come floating numbers alone.
        "resources": {"requests": {"cpu": 0.5, "memory": "1.5Gi"}, "limits": {"cpu": 2.0, "memory": "2e9"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "dns-tcp"}, "periodSeconds": 5.0},
        "livenessProbe": {"tcpSocket": {"port": 53.0}},
        "securityContext": {"runAsUser": 1000.0, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    volumes = [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata("web"),
        "spec": {
            "replicas": 2.0,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0.0},
            },
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "volumes": volumes},
            },
        },
    }


# Objects that the server takes, by name.
GOOD: dict[str, dict[str, Any]] = {
    "Deployment": _deployment(),
    "Service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata("web"),
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80.0, "targetPort": "http"}]},
    },
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata("web"),
        "spec": {"maxUnavailable": 1.0, "selector": {"matchLabels": {"app": "web"}}},
    },
    "Role": {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata("web"),
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    },
    "EndpointSlice": {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata("web"),
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    },
    "CronJob": {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": _metadata("web"),
        "spec": {
            "schedule": "0 * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "OnFailure",
                            "containers": [{"name": "web", "image": "registry.example/web:1"}],
                        }
                    }
                }
            },
        },
    },
    "ConfigMap": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata("web"),
        "data": {"a.conf": "x"},
    },
    "Secret": {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata("web"),
        "data": {"password": "c2VjcmV0"},
    },
}


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A ``value`` at the ``path`` of the good object ``kind``: one more item in a list, or ``ABSENT``.

    ``told``: what the check says of it.
    """

    kind: str
    path: tuple[str | int, ...]
    value: Any
    told: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.told}"

    def made(self) -> dict[str, Any]:
        """The object with the mistake."""
        whole = copy.deepcopy(GOOD[self.kind])
        at: Any = whole
        *above, last = self.path
        for each in above:
            at = at[each]
        if self.value is ABSENT:
            del at[last]
        elif isinstance(at, list):
            at.insert(int(last), self.value)
        else:
            at[last] = self.value
        return whole


_POD = ("spec", "template", "spec")
_CONTAINER = (*_POD, "containers", 0)


def _of(kind: str, path: tuple[str | int, ...], value: Any, told: str) -> Mistake:
    return Mistake(kind=kind, path=path, value=value, told=told)


MISTAKES = (
    # A field that there is not.
    _of("Deployment", ("metdata",), {}, "metdata: there is no such field"),
    _of("Deployment", (*_POD, "hostNetwrk"), True, "spec.template.spec.hostNetwrk: there is no such field"),
    _of(
        "Deployment",
        (*_CONTAINER, "readinessProbe", "periodSecond"),
        1,
        "spec.template.spec.containers[0].readinessProbe.periodSecond: there is no such field",
    ),
    _of(
        "Service", ("spec", "ports", 0, "target_port"), 1, "spec.ports[0].target_port: there is no such field"
    ),
    _of("Role", ("spec",), {}, "spec: there is no such field"),
    # A type that it has not.
    _of("Deployment", ("spec", "replicas"), "2", "spec.replicas: is no integer"),
    _of("Deployment", ("spec", "replicas"), 1.5, "spec.replicas: is no integer"),
    _of("Deployment", ("spec", "replicas"), True, "spec.replicas: is no integer"),
    _of("Deployment", ("spec", "replicas"), 2**31, "spec.replicas: is no int32"),
    _of("Deployment", (*_POD, "hostNetwork"), "true", "spec.template.spec.hostNetwork: is no boolean"),
    _of("Deployment", (*_POD, "containers"), {"a": 1}, "spec.template.spec.containers: is no array"),
    _of("Deployment", (*_POD, "nodeSelector"), ["a"], "spec.template.spec.nodeSelector: is no object"),
    _of("Deployment", ("metadata", "labels", "app"), 1, "metadata.labels.app: is no string"),
    _of("ConfigMap", ("data", "a.conf"), 1, "data.a.conf: is no string"),
    _of("Secret", ("data", "password"), "not base64!", "data.password: is no byte"),
    _of(
        "Deployment",
        ("metadata", "creationTimestamp"),
        "today",
        "metadata.creationTimestamp: is no date-time",
    ),
    _of("Role", ("rules", 0, "verbs"), "get", "rules[0].verbs: is no array"),
    # A required field that is not there.
    _of("Deployment", ("spec", "selector"), ABSENT, "spec.selector: is missing"),
    _of("Deployment", (*_POD, "containers"), ABSENT, "spec.template.spec.containers: is missing"),
    _of(
        "Deployment",
        (*_CONTAINER, "volumeMounts", 0, "mountPath"),
        ABSENT,
        "spec.template.spec.containers[0].volumeMounts[0].mountPath: is missing",
    ),
    _of("Service", ("spec", "ports", 0, "port"), ABSENT, "spec.ports[0].port: is missing"),
    _of("Role", ("rules", 0, "verbs"), ABSENT, "rules[0].verbs: is missing"),
    _of("EndpointSlice", ("addressType",), ABSENT, "addressType: is missing"),
    _of("CronJob", ("spec", "schedule"), ABSENT, "spec.schedule: is missing"),
    # A value that it cannot have.
    _of(
        "Deployment",
        (*_CONTAINER, "imagePullPolicy"),
        "Sometimes",
        "spec.template.spec.containers[0].imagePullPolicy: is none of Always, IfNotPresent, Never",
    ),
    _of("EndpointSlice", ("addressType",), "IPv5", "addressType: is none of FQDN, IPv4, IPv6"),
    _of(
        "CronJob",
        ("spec", "concurrencyPolicy"),
        "forbid",
        "spec.concurrencyPolicy: is none of Allow, Forbid, Replace",
    ),
    # Quantities, and integers that may be strings.
    _of(
        "Deployment",
        (*_CONTAINER, "resources", "limits", "memory"),
        "512MB",
        "spec.template.spec.containers[0].resources.limits.memory: is no quantity",
    ),
    _of(
        "Deployment",
        (*_CONTAINER, "resources", "limits", "memory"),
        True,
        "spec.template.spec.containers[0].resources.limits.memory: is no string or number",
    ),
    _of(
        "PodDisruptionBudget",
        ("spec", "maxUnavailable"),
        0.5,
        "spec.maxUnavailable: is no integer or string",
    ),
    _of("PodDisruptionBudget", ("spec", "maxUnavailable"), 2**31, "spec.maxUnavailable: is no int-or-string"),
    # Items of a list that has keys.
    _of(
        "Deployment",
        (*_CONTAINER, "ports", 1),
        {"containerPort": 53, "protocol": "TCP"},
        "spec.template.spec.containers[0].ports[2]: is there twice",
    ),
    _of(
        "Deployment",
        (*_CONTAINER, "env", 1),
        {"name": "MODE", "value": "other"},
        "spec.template.spec.containers[0].env[1]: is there twice",
    ),
    _of(
        "Deployment",
        (*_POD, "imagePullSecrets"),
        [{"name": ""}, {}],
        "spec.template.spec.imagePullSecrets[1]: is there twice",
    ),
    _of(
        "Deployment",
        ("metadata", "finalizers"),
        ["example.org/a", "example.org/a"],
        "metadata.finalizers[1]: is there twice",
    ),
)

# What stands for an amount, and what does not.
QUANTITIES = ("1", "0.5", ".5", "5.", "+1", "100m", "64Mi", "1.5Gi", "2k", "3E", "1e3", "1E-3", "10u", "10n")
NO_QUANTITIES = ("", "512MB", "1 Gi", "1gi", "1KI", "1e1.5", "one", "1.2.3", "0x10")
