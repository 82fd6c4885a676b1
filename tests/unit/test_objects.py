"""Objects of Kubernetes are registered as the SDK's own resources register them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from jarvis.core import objects
from tests.unit.harness import Registered, record

KINDS = sorted(objects.KubernetesObject.__subclasses__(), key=lambda kind: kind.__name__)
# What the SDK insists on.
FIELDS: dict[str, dict[str, Any]] = {
    "CronJob": {"spec": {"schedule": "@daily"}},
    "Deployment": {"spec": {"replicas": 1}},
    "DaemonSet": {"spec": {"minReadySeconds": 1}},
    "EndpointSlice": {"addressType": "IPv4", "endpoints": []},
    "RoleBinding": {"roleRef": {"name": "x"}},
    "ClusterRoleBinding": {"roleRef": {"name": "x"}},
    "Secret": {"stringData": {"password": "x"}, "data": {"key": "eA=="}},
}
SPELLED = {"addressType": "address_type", "roleRef": "role_ref", "stringData": "string_data"}


def registered(kind: Callable[..., pulumi.CustomResource], fields: Mapping[str, Any]) -> Registered:
    graph = record(lambda: kind("a", metadata={"name": "a"}, opts=pulumi.ResourceOptions(), **fields))
    (only,) = graph.resources.values()
    return only


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_object_is_registered_as_the_sdk_does(kind: type[objects.KubernetesObject]) -> None:
    fields = FIELDS.get(kind.__name__, {})
    group, version = kind.api.split("/")
    module = importlib.import_module(f"pulumi_kubernetes.{group.split('.')[0]}.{version}")
    ours = registered(kind, fields)
    theirs = registered(
        getattr(module, kind.__name__), {SPELLED.get(name, name): value for name, value in fields.items()}
    )
    assert ours == replace(theirs, aliases=ours.aliases, former=ours.former)


def test_the_content_of_a_secret_is_secret() -> None:
    one = registered(objects.Secret, FIELDS["Secret"])
    assert one.secrets == {"data", "stringData"}
    assert one.secret_outputs == {"data", "stringData"}
