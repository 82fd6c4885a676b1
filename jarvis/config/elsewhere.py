"""Fields of Jarvis' objects of Kubernetes that another manager owns, such as an autoscaler."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from jarvis.config.field_path import Path, parse
from jarvis.config.types import Section, Spelled

_NAMESPACED = Literal[
    "ConfigMap",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "EndpointSlice",
    "Job",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
]
_OF_THE_CLUSTER = Literal["ClusterRole", "ClusterRoleBinding", "Namespace"]
# What an object is known by, or cannot be without: given away whole, nothing would be left to deploy.
_NEVER = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
    ("f:spec", "f:selector"),
)
_Name = Annotated[str, Spelled(r"[a-z0-9]([a-z0-9.:-]*[a-z0-9])?", "a name of Kubernetes, such as glance")]


def _path(text: str) -> str:
    path = parse(text)
    for own in _NEVER:
        if path[: len(own)] == own or own[: len(path)] == path:
            raise ValueError(f"{text!r} is or has in it what the object is known by, which stays Jarvis'")
    return text


class OwnedElsewhere(Section):
    """A field that another manager owns: Jarvis does not send it, nor takes it back."""

    kind: _NAMESPACED | _OF_THE_CLUSTER = Field(description="of the object; a Secret's fields are Jarvis'")
    namespace: _Name | None = Field(default=None, description="none for a kind of the whole cluster")
    name: _Name
    field: Annotated[str, AfterValidator(_path)] = Field(
        description='its path, such as spec.replicas or metadata.annotations["a.b/c"]'
    )
    manager: Annotated[str, Spelled(r"[^\s].{0,127}", "the name of a field manager")] = Field(
        description="the name that metadata.managedFields has for it, such as kube-controller-manager"
    )

    @property
    def path(self) -> Path:
        """``field`` in steps."""
        return parse(self.field)

    @property
    def object(self) -> str:
        """What the object is called in messages: ``Deployment openstack/glance``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @model_validator(mode="after")
    def _in_its_place(self) -> Self:
        of_the_cluster = self.kind in get_args(_OF_THE_CLUSTER)
        if of_the_cluster and self.namespace:
            raise ValueError(f"a {self.kind} is in no namespace: remove namespace: {self.namespace}")
        if not of_the_cluster and not self.namespace:
            raise ValueError(f"a {self.kind} is in a namespace, such as openstack: add namespace")
        return self
