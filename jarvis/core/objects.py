"""The kinds of Kubernetes objects that Jarvis makes, as Pulumi resources.

They are the SDK's resources without its classes for each field of each kind: defining those takes a third of
the program's time. Fields have their names in the reference,
https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pulumi

from jarvis.config.field_path import Path, parse
from jarvis.core.component import merged
from jarvis.core.identity import Identity, declare
from jarvis.core.without import without

# The annotation with what was found, by which a preview shows it (jarvis/drift). Of an object it is on its
# own metadata and not on its pods, so that nothing restarts. Of what a Job has made it is on that one's pods,
# so that the Job runs again.
SEEN = "jarvis.internal/seen"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What was found of an object.

    Attributes:
        text: its annotation.
        take: fields to take from others, as the request of ``Taker``; empty for none.
        anew: it is not there, and is to be made.
    """

    text: str
    take: str = ""
    anew: bool = False


class Watcher(Protocol):
    """Knows what was found of the objects of the stack."""

    def elsewhere(self, one: Identity) -> Sequence[Path]:
        """The fields of ``one`` that another manager owns, and that are not to be sent."""

    def see(self, one: Identity, *, ignored: Sequence[Path], protected: bool) -> Mark | None:
        """What was found of ``one``, which is declared with this, once.

        Args:
            one: the object.
            ignored: fields of it that are none of the program's.
            protected: whether it is protected.
        """


# Makes the resource that takes the fields of a mark from others: of the name, the object, the mark, and its
# options.
Taker = Callable[[str, Identity, Mark, pulumi.ResourceOptions], pulumi.Resource]


@dataclass
class _Program:
    watcher: Watcher | None = None
    taker: Taker | None = None


_program = _Program()


def begin(watcher: Watcher | None) -> None:
    """Begins a program whose objects ``watcher`` knows, if it is one."""
    _program.watcher, _program.taker = watcher, None


def take_by(taker: Taker) -> None:
    """From here on fields are taken from others by ``taker``."""
    _program.taker = taker


class KubernetesObject(pulumi.CustomResource):
    """An object of the Kubernetes API. Each of its fields is an output of the same name.

    Args:
        name: logical name.
        opts: options, with the cluster's provider.
        **fields: fields of the object, by their names in the API.

    Attributes:
        api: ``<group>/<version>``; the group without a name is ``core``.
        metadata: the object's metadata.
    """

    api: ClassVar[str]
    _kind: ClassVar[str]
    metadata: pulumi.Output[Mapping[str, Any]]

    def __init_subclass__(cls, *, api: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if api:
            cls.api, cls._kind = api, cls.__name__
            declare(cls._kind, api)

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions, **fields: Any) -> None:
        if _program.watcher is not None:
            fields, opts = self._watched(_program.watcher, name, fields, opts)
        whole = {"apiVersion": self.api.removeprefix("core/"), "kind": self._kind, **fields}
        super().__init__(f"kubernetes:{self.api}:{self._kind}", name, whole, opts)

    def _watched(
        self, watcher: Watcher, name: str, fields: Mapping[str, Any], opts: pulumi.ResourceOptions
    ) -> tuple[dict[str, Any], pulumi.ResourceOptions]:
        """``fields`` and ``opts`` with what ``watcher`` knows of the object."""
        metadata = fields["metadata"]
        one = Identity(kind=self._kind, namespace=metadata.get("namespace", ""), name=metadata["name"])
        for path in watcher.elsewhere(one):
            fields = without(fields, path)
        ignored = [parse(each) for each in opts.ignore_changes or ()]
        mark = watcher.see(one, ignored=ignored, protected=opts.protect is True)
        if mark is None:
            return dict(fields), opts
        metadata = fields["metadata"]
        annotations = {**metadata.get("annotations", {}), SEEN: mark.text}
        more: dict[str, Any] = {}
        if mark.anew:
            # The provider updates only what is there.
            more |= {"replace_on_changes": ["metadata"], "delete_before_replace": True}
        if mark.take and _program.taker is not None:
            own = pulumi.ResourceOptions(parent=opts.parent, depends_on=opts.provider)
            more["depends_on"] = [_program.taker(f"{name}-{self._kind.lower()}-taken-back", one, mark, own)]
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**more))
        return {**fields, "metadata": {**metadata, "annotations": annotations}}, opts


class ConfigMap(KubernetesObject, api="core/v1"):
    """Configuration that pods mount or read.

    https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/
    """


class CronJob(KubernetesObject, api="batch/v1"):
    """Jobs on a schedule.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/
    """


class ClusterRole(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """Rights in the whole cluster.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/cluster-role-v1/
    """


class ClusterRoleBinding(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """Who has the rights of a ClusterRole.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/cluster-role-binding-v1/
    """


class DaemonSet(KubernetesObject, api="apps/v1"):
    """One pod on each node.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/
    """


class Deployment(KubernetesObject, api="apps/v1"):
    """Replicas of a pod, replaced by rolling update.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
    """


class EndpointSlice(KubernetesObject, api="discovery.k8s.io/v1"):
    """Addresses behind a Service.

    https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
    """


class Job(KubernetesObject, api="batch/v1"):
    """A pod that runs to completion.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
    """


class Namespace(KubernetesObject, api="core/v1"):
    """A scope of names, quotas and pod security.

    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/
    """


class PodDisruptionBudget(KubernetesObject, api="policy/v1"):
    """How many pods may be evicted at once.

    https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/pod-disruption-budget-v1/
    """


class Role(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """Rights in one namespace.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/
    """


class RoleBinding(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """Who has the rights of a Role.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-binding-v1/
    """


class Secret(KubernetesObject, api="core/v1"):
    """Secrets that pods mount or read. The content is secret in the state and in previews.

    https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
    """

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions, **fields: Any) -> None:
        content = ("data", "stringData")
        for field in content:
            if field in fields:
                fields[field] = pulumi.Output.secret(fields[field])
        super().__init__(name, opts=merged(opts, additional_secret_outputs=list(content)), **fields)


class Service(KubernetesObject, api="core/v1"):
    """A name and an address for pods.

    https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/
    """


class ServiceAccount(KubernetesObject, api="core/v1"):
    """An identity for pods.

    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/service-account-v1/
    """
