"""The kinds of Kubernetes objects that Jarvis makes, as Pulumi resources.

They are the SDK's resources without its classes for each field of each kind: defining those takes a third of
the program's time. Fields have their names in the reference,
https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi

from jarvis.core.component import merged


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

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions, **fields: Any) -> None:
        whole = {"apiVersion": self.api.removeprefix("core/"), "kind": self._kind, **fields}
        super().__init__(f"kubernetes:{self.api}:{self._kind}", name, whole, opts)


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
