"""The kinds of objects of the Kubernetes API that Jarvis makes, as resources.

They are the SDK's own resources, without its classes for each field of each kind: to define those takes a
third of the program's time. Fields have the names of Kubernetes' reference
(https://kubernetes.io/docs/reference/kubernetes-api/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi


class KubernetesObject(pulumi.CustomResource):
    """An object of the API ``api``: ``<group>/<version>``, with ``core`` for the group that has no name.

    Args of ``__init__``: ``name``, the logical name; ``opts``, with the cluster's provider; and the object's
    fields. Each field is an output of the same name.
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
    """https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/"""


class CronJob(KubernetesObject, api="batch/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/"""


class ClusterRole(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/cluster-role-v1/"""


class ClusterRoleBinding(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/cluster-role-binding-v1/"""


class DaemonSet(KubernetesObject, api="apps/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/"""


class Deployment(KubernetesObject, api="apps/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/"""


class EndpointSlice(KubernetesObject, api="discovery.k8s.io/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/"""


class Job(KubernetesObject, api="batch/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/"""


class Namespace(KubernetesObject, api="core/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/"""


class PodDisruptionBudget(KubernetesObject, api="policy/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/pod-disruption-budget-v1/"""


class Role(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/"""


class RoleBinding(KubernetesObject, api="rbac.authorization.k8s.io/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-binding-v1/"""


class Secret(KubernetesObject, api="core/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/

    Its content is secret in the state, and in previews.
    """

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions, **fields: Any) -> None:
        content = ("data", "stringData")
        for field in content:
            if field in fields:
                fields[field] = pulumi.Output.secret(fields[field])
        own = pulumi.ResourceOptions(additional_secret_outputs=list(content))
        super().__init__(name, opts=pulumi.ResourceOptions.merge(opts, own), **fields)


class Service(KubernetesObject, api="core/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/"""


class ServiceAccount(KubernetesObject, api="core/v1"):
    """https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/service-account-v1/"""
