"""What is done to objects in a cluster: apply, dry run, read, delete. In terms of plain objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.kubernetes.client import APPLY, ApiError, Client, KindMissing, Unreachable
from toolchain.plugins.kubernetes.naming import Kind, object_id

Object = dict[str, Any]
Warn = Callable[[str], None]

_CONFLICT = (
    "server-side apply field conflict detected, see "
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/"
    "managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources "
    "for troubleshooting help\n"
    'The resource managed by field manager "{manager}" had an apply conflict: {message}'
)
# A preview waits no longer than this to learn whether there is a cluster.
_PROBE_SECONDS = 5.0
# A new definition is served within a second or two, by each of several API servers in its own time.
_KIND_DELAYS = (0.2, 0.5, 1.0, 2.0, 4.0)


class FieldConflict(ProviderError):
    """Somebody else owns a field that the apply wants to set."""


class Exists(ProviderError):
    """An object of that name is there, and not of our making."""


class Cluster:
    """Operations on single objects.

    Args:
        client: the API.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    def answers(self) -> bool:
        """Whether an API server answers, found out quickly; for previews."""
        try:
            self.client.request("GET", "/version", retry=False, seconds=_PROBE_SECONDS)
        except ApiError:
            return True
        except Unreachable:
            return False
        return True

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None. Raises ApiError, Unreachable, KindMissing."""
        try:
            found: Object = self.client.request("GET", self.client.path(kind, namespace, name))
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
            done: Object = self.client.request(
                "PATCH", path, obj, content_type=APPLY, warn=warn, retry=not preview, query=query
            )
        except ApiError as error:
            if error.field_conflict:
                raise FieldConflict(_CONFLICT.format(manager=manager, message=error)) from None
            raise
        return done

    def create(self, kind: Kind, obj: Object, manager: str, *, force: bool, warn: Warn) -> Object:
        """Make an object by apply. What our own earlier run made, killed before it could tell, is taken up.

        Raises:
            Exists: the object is there and not made by this resource.
            FieldConflict, ApiError, Unreachable, KindMissing: as `apply`.
        """
        metadata = obj["metadata"]
        if not kind.builtin:
            self._await_kind(kind)
        found = self.get(kind, metadata.get("namespace", ""), metadata["name"])
        if found is not None and not force and not owned(found, manager):
            raise Exists(
                f'{kind.kind} "{object_id(metadata)}" already exists: import it (pulumi import), delete it, '
                f"or patch it with a {kind.kind}Patch resource"
            )
        if found is not None and found["metadata"].get("deletionTimestamp"):
            raise Exists(f'{kind.kind} "{object_id(metadata)}" is being deleted: try again when it is gone')
        return self.apply(kind, obj, manager, force=force, warn=warn)

    def _await_kind(self, kind: Kind) -> None:
        """Wait a little for the kind to be served: that follows its definition's being established."""
        for delay in _KIND_DELAYS:
            try:
                self.client.path(kind, "")
                return
            except KindMissing:
                self.client.pause(delay)
        self.client.path(kind, "")

    def dry_create(self, kind: Kind, obj: Object, manager: str) -> Object | None:
        """What the server would make of a new object; None where it cannot tell: the object is there
        still, its namespace is not there yet, or we may not ask.

        Raises:
            ApiError: the object is invalid. Unreachable, KindMissing: as the client's.
        """
        path = self.client.path(kind, obj["metadata"].get("namespace", ""))
        query = {"dryRun": "All", "fieldManager": manager, "fieldValidation": "Warn"}
        try:
            made: Object = self.client.request("POST", path, obj, retry=False, query=query)
        except ApiError as error:
            if error.status in (400, 422) and not _of_missing_dependency(error):
                raise
            return None
        return made

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


def owned(obj: Object, manager: str) -> bool:
    """Whether `manager` has applied the object."""
    entries = obj["metadata"].get("managedFields") or []
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def _of_missing_dependency(error: ApiError) -> bool:
    # Admission that looks other objects up fails while those are only planned.
    return "not found" in str(error) and error.status == 400
