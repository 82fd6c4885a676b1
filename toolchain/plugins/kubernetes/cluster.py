"""What is done to objects in a cluster: apply, dry run, read, delete. In terms of plain objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.kubernetes.client import APPLY, ApiError, Client, KindMissing
from toolchain.plugins.kubernetes.naming import Kind

Object = dict[str, Any]
Warn = Callable[[str], None]

_CONFLICT = (
    "server-side apply field conflict detected, see "
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/"
    "managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources "
    "for troubleshooting help\n"
    'The resource managed by field manager "{manager}" had an apply conflict: {message}'
)
# As long as the official plugin's client waits for what the cluster says of itself.
_JUDGE_SECONDS = 32.0
_SCHEMA = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# A new definition or namespace is there within a second or two, for each of several API servers in its time.
_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0)
# How often an object that others change at the same moment is looked at again.
_TRIES = 5
_JSON_PATCH = "application/json-patch+json"
# Under this name objects are made: that of all changes which are no server-side apply.
CREATOR = "pulumi-kubernetes"
# Whose fields an update takes over without a word, as the official plugin does: they are what kubectl apply
# and edit, and a creation, leave behind. Names are prefixes; of subresources (kubectl scale) none.
_TAKEN_OVER = (
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    (CREATOR, "Update"),
    ("pulumi-resource-kubernetes", "Update"),
)
_EXISTS = """{error}

The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`. Note that
    protected resources (e.g. kube-system) cannot be deleted on destroy.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""


class FieldConflict(ProviderError):
    """Somebody else owns a field that the apply wants to set."""


class Exists(ProviderError):
    """An object of that name is there already."""


class Cluster:
    """Operations on single objects.

    Args:
        client: the API.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def judge(self) -> None:
        """Whether an API server answers and serves its schema: what the official plugin asks when configured.

        Raises:
            ApiError, Unreachable: it does not.
        """
        self.client.request(
            "GET", "/openapi/v2", query={"timeout": "32s"}, seconds=_JUDGE_SECONDS, text=True, accept=_SCHEMA
        )

    def existing(self, kind: Kind, namespace: str, name: str) -> Object:
        """The object. Raises ApiError, also when it is not there, Unreachable, KindMissing."""
        found: Object = self.client.request("GET", self.client.path(kind, namespace, name))
        return found

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None. Raises ApiError, Unreachable, KindMissing."""
        try:
            found = self.existing(kind, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def apply(
        self, kind: Kind, obj: Object, manager: str, *, force: bool, preview: bool = False, warn: Warn
    ) -> Object:
        """Server-side apply; the object as it is (or, in a preview, would be) afterwards.

        Args:
            obj: plain inputs, name included.
            manager: owner of the fields.
            force: take fields that others own.
            warn: is told of the server's warnings.

        Raises:
            FieldConflict: another owner, and no force.
            ApiError, Unreachable, KindMissing: as the client's.
        """
        metadata = obj["metadata"]
        path = self.client.path(kind, metadata.get("namespace", ""), metadata["name"])
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Warn"}
        if preview:
            query["dryRun"] = "All"
        try:
            done: Object = self.client.request("PATCH", path, obj, content_type=APPLY, warn=warn, query=query)
        except ApiError as error:
            if error.status == 409:
                raise FieldConflict(_CONFLICT.format(manager=manager, message=error)) from None
            raise
        return done

    def create(self, kind: Kind, obj: Object, warn: Warn) -> Object:
        """Make an object that is not there.

        Raises:
            Exists: it is there, whoever made it.
            ApiError, Unreachable, KindMissing: as the client's.
        """
        return self._patiently(lambda: self._make(kind, obj, warn))

    def upsert(self, kind: Kind, obj: Object, manager: str, *, force: bool, warn: Warn) -> Object:
        """Make an object, or apply to the one that is there. Raises as `apply`."""
        return self._patiently(lambda: self.apply(kind, obj, manager, force=force, warn=warn))

    def _make(self, kind: Kind, obj: Object, warn: Warn | None = None, **query: str) -> Object:
        path = self.client.path(kind, obj["metadata"].get("namespace", ""))
        query = {"fieldManager": CREATOR, **query}
        try:
            made: Object = self.client.request("POST", path, obj, warn=warn, query=query)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise Exists(_EXISTS.format(error=error)) from None
            raise
        return made

    def _patiently(self, make: Callable[[], Object]) -> Object:
        """Try again for a while when the kind or the namespace is not there: both take a moment to come."""
        for delay in _DELAYS:
            try:
                return make()
            except KindMissing:
                pass
            except ApiError as error:
                if error.status != 404:
                    raise
            self.client.pause(delay)
        return make()

    def dry_create(self, kind: Kind, obj: Object) -> Object | None:
        """What the server would make of a new object; None where it cannot tell: the object is there
        still, its namespace is not there yet, or we may not ask.

        Raises:
            ApiError: the server would refuse it. Unreachable, KindMissing: as the client's.
        """
        try:
            return self._make(kind, obj, dryRun="All")
        except Exists:
            return None
        except ApiError as error:
            if error.status in (403, 404):
                return None
            raise

    def dry_upsert(self, kind: Kind, obj: Object, manager: str) -> Object | None:
        """As `dry_create`, of `upsert`. Forced: that nobody else owns a field is the upsert's to find out."""
        try:
            return self.apply(kind, obj, manager, force=True, preview=True, warn=lambda _: None)
        except ApiError as error:
            if error.status in (403, 404) or (error.status == 422 and "field is immutable" in str(error)):
                return None
            raise

    def take_over(self, kind: Kind, live: Object, manager: str) -> None:
        """Make `manager` the one that applied what kubectl or the creation left behind.

        Without it a field that the inputs no longer have would stay: it would still be the creator's.

        Raises:
            ProviderError: others change the object each time.
            ApiError, Unreachable, KindMissing: as the client's.
        """
        namespace, name = live["metadata"].get("namespace", ""), live["metadata"]["name"]
        path = self.client.path(kind, namespace, name)
        for _ in range(_TRIES):
            metadata = live["metadata"]
            entries = with_taken_over(metadata.get("managedFields") or [], manager)
            if entries is None:
                return
            patch = [
                {"op": "replace", "path": "/metadata/managedFields", "value": entries},
                # The list is whole: an owner that came since it was read would be forgotten with its fields.
                {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            ]
            try:
                self.client.request("PATCH", path, patch, content_type=_JSON_PATCH)
            except ApiError as error:
                if error.status != 409:
                    raise
                live = self.existing(kind, namespace, name)
            else:
                return
        raise ProviderError(f"{name} is changed by others all the time")

    def release(self, kind: Kind, namespace: str, name: str, manager: str) -> None:
        """Give up all fields that `manager` owns of an object; nothing when there is no such object."""
        found = self.get(kind, namespace, name)
        if found is None:
            return
        metadata = {"name": name, "uid": found["metadata"]["uid"]}
        if namespace:
            metadata["namespace"] = namespace
        empty = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        # The uid keeps this from making an empty object when the real one goes at this moment.
        try:
            self.apply(kind, empty, manager, force=True, warn=lambda _: None)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def delete(self, kind: Kind, namespace: str, name: str, policy: str) -> tuple[str, str | None] | None:
        """Ask for an object's deletion; its path and uid to wait on, or None when it is gone already.

        Args:
            policy: "Foreground", "Background" or "Orphan": what happens to what the object owns.
        """
        path = self.client.path(kind, namespace, name)
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        try:
            answer = self.client.request("DELETE", path, options)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        metadata = answer.get("metadata") or {}
        uid = metadata.get("uid") or (answer.get("details") or {}).get("uid")
        return path, uid


def forced_in_preview(live: Object) -> bool:
    """Whether a dry run must be forced, since the update itself takes the fields over first."""
    names = (CREATOR, "pulumi-kubernetes.exe", "pulumi-resource-kubernetes")
    entries = live["metadata"].get("managedFields") or []
    return any(entry.get("operation") == "Update" and entry.get("manager") in names for entry in entries)


def with_taken_over(entries: list[Object], manager: str) -> list[Object] | None:
    """The list of owners with what `_TAKEN_OVER` says given to `manager`; None when nothing changes."""
    own: Object | None = None
    kept, taken = [], []
    for entry in entries:
        operation, name = entry.get("operation"), str(entry.get("manager"))
        if operation == "Apply" and name == manager:
            own = entry
        elif not entry.get("subresource") and any(
            operation == wanted and name.startswith(prefix) for prefix, wanted in _TAKEN_OVER
        ):
            taken.append(entry)
        else:
            kept.append(entry)
    if not taken:
        return None
    merged = dict(own) if own is not None else {**taken[0], "manager": manager, "operation": "Apply"}
    for entry in taken:
        merged["fieldsV1"] = _union(merged.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    return [*kept, merged]


def _union(one: Object, other: Object) -> Object:
    """Two sets of fields in one. An empty member is a field itself, as "." is in one that has members."""
    out = dict(one)
    for key, inside in other.items():
        if key not in out:
            out[key] = inside
        elif out[key] or inside:
            out[key] = _union(out[key] or {".": {}}, inside or {".": {}})
    return out
