"""Names: of kinds in type tokens, of objects, of their ids, of field managers. No cluster is asked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolchain.plugins.common.errors import ProviderError

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
PROPAGATION = "pulumi.com/deletionPropagationPolicy"

# Names get this many hexadecimal digits, as the official plugin's.
_SUFFIX = 8
_MANAGER_PREFIX = "pulumi-kubernetes-"
# Packages of the SDK that are more than one object; they need tools or code this adapter does not have.
_COMPOSITE = ("helm.sh/", "kustomize", "yaml")
_NOT_COMPOSED = (
    "the offline kubernetes plugin cannot make {token}; write its objects as resources of their own, "
    "or use the official plugin (JARVIS_PLUGINS=official)"
)
# The built-in kinds that belong to no namespace; what is not here (and no custom resource) is in one.
_CLUSTER_SCOPED = frozenset(
    [
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "ComponentStatus",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "ServiceCIDR",
        "StorageClass",
        "StorageVersion",
        "StorageVersionMigration",
        "SubjectAccessReview",
        "TokenReview",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    ]
)
# Kinds whose objects own nothing worth waiting for: the garbage collector need not look at each first.
_LEAVES = frozenset(
    [
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "CustomResourceDefinition",
        "EndpointSlice",
        "Namespace",
        "PriorityClass",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "StorageClass",
    ]
)
_UNQUALIFIED_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})


@dataclass(frozen=True)
class Kind:
    """A kind of objects: API version ("v1", "apps/v1") and kind ("Deployment")."""

    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def builtin(self) -> bool:
        """Whether Kubernetes itself defines the kind."""
        return self.group in _UNQUALIFIED_GROUPS or self.group.endswith(".k8s.io")

    @property
    def namespaced(self) -> bool | None:
        """Whether objects live in a namespace; None where only the cluster knows (custom resources)."""
        return self.kind not in _CLUSTER_SCOPED if self.builtin else None

    @property
    def leaf(self) -> bool:
        """Whether objects own no others that a deletion should wait for."""
        return self.builtin and self.kind in _LEAVES

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


def kind_of(token: str, inputs: Mapping[str, Any]) -> Kind:
    """The kind of a resource, from its inputs, else (an import) from its type token.

    Args:
        token: "kubernetes:apps/v1:Deployment".
        inputs: plain values; `apiVersion` and `kind` are used when they are there.

    Raises:
        ProviderError: the token stands for no single object.
    """
    parts = token.split(":")
    if len(parts) != 3 or any(parts[1].startswith(prefix) for prefix in _COMPOSITE):
        raise ProviderError(_NOT_COMPOSED.format(token=token))
    api_version, kind = inputs.get("apiVersion"), inputs.get("kind")
    if isinstance(api_version, str) and isinstance(kind, str):
        return Kind(api_version, kind)
    made = Kind(parts[1].removeprefix("core/"), parts[2])
    return Kind(made.api_version, made.kind.removesuffix("Patch")) if made.builtin else made


def is_patch(token: str, kind: Kind) -> bool:
    """Whether the resource patches an object that is somebody else's (ConfigMapPatch and its like)."""
    return token.rpartition(":")[2] == kind.kind + "Patch"


def annotations_of(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The object's annotations whose values are known texts."""
    metadata = inputs.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def annotated(inputs: Mapping[str, Any], name: str) -> bool:
    """Whether the annotation is there and "true"."""
    return annotations_of(inputs).get(name) == "true"


def autoname(base: str, seed: bytes) -> str:
    """A name made of `base`: the same for the same seed, so that the preview shows what the update makes."""
    if not seed:
        return f"{base}-{secrets.token_hex(_SUFFIX // 2)}"
    return f"{base}-{hashlib.sha256(seed + base.encode()).hexdigest()[:_SUFFIX]}"


def object_id(metadata: Mapping[str, Any]) -> str:
    """The resource id of an object: "namespace/name", or "name" outside namespaces."""
    namespace, name = metadata.get("namespace"), metadata["name"]
    return f"{namespace}/{name}" if namespace else str(name)


def parse_id(identity: str) -> tuple[str, str]:
    """Namespace (maybe empty) and name of a resource id."""
    namespace, _, name = identity.rpartition("/")
    return namespace, name


def field_manager(inputs: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """The name under which the resource's fields are owned: a chosen one, the state's own, or a new one."""
    chosen = annotations_of(inputs).get(PATCH_FIELD_MANAGER)
    kept = state.get("__fieldManager")
    if chosen:
        return chosen
    if isinstance(kept, str) and kept:
        return kept
    return _MANAGER_PREFIX + secrets.token_hex(_SUFFIX // 2)
