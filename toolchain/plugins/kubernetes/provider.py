"""The kubernetes provider: what the engine asks, resource by resource."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from toolchain.plugins.command.output import Redaction
from toolchain.plugins.common.diff import Diff
from toolchain.plugins.common.diff import Kind as Change
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import (
    Checked,
    CheckFailure,
    Operation,
    Properties,
    Provider,
    State,
)
from toolchain.plugins.common.values import UNKNOWN, has_unknown, reveal, secret_texts
from toolchain.plugins.kubernetes import naming, objects, settings
from toolchain.plugins.kubernetes.failures import Explained, init_failed
from toolchain.plugins.kubernetes.immutable import difference, immutable_fields
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.reach import Reach

# `cluster`, `client`, `waiting` and `proxy` are imported where a cluster is asked: a preview without changes
# asks none, and their imports would cost a third of the plugin's start.

Object = dict[str, Any]
_POLICIES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


class KubernetesProvider(Provider):
    """Every kind of object, by server-side apply, as of pulumi-kubernetes 4.34.2."""

    name = "kubernetes"
    version = "4.34.2"
    schema = '{"name": "kubernetes", "version": "4.34.2"}'
    supports_autonaming = True

    def __init__(self) -> None:
        super().__init__()
        self._reach = Reach(self.cancellation)
        self._lock = threading.Lock()
        self._secrets: set[str] = set()

    # --- configuration ---

    def check_config(self, op: Operation) -> Checked:
        return Checked(op.news, settings.check(reveal(op.news)))

    def diff_config(self, op: Operation) -> Diff:
        return settings.difference(op.old_inputs or op.olds, op.news)

    def configure(self, inputs: Properties, variables: Mapping[str, str]) -> None:
        self._reach.configure(inputs)

    # --- resources ---

    def check(self, op: Operation) -> Checked:
        if self._reach.skips(op):
            return Checked(op.olds)
        kind = naming.kind_of(op.type, reveal(op.news))
        inputs = objects.normalized(op.news, kind)
        self._remember(op.news, inputs)
        inputs.setdefault("apiVersion", kind.api_version)
        inputs.setdefault("kind", kind.kind)
        metadata = inputs.get("metadata", {})
        if not isinstance(metadata, dict):
            # All of it unknown, or secret: nothing can be filled in.
            return Checked(inputs)
        metadata = dict(metadata)
        failures = []
        patch = naming.is_patch(op.type, kind)
        if not metadata.get("name") and metadata.get("name") is not UNKNOWN:
            if patch:
                why = "a Patch resource must name the object it patches"
                failures.append(CheckFailure("metadata.name", why))
            elif not metadata.get("generateName"):
                failures += self._autoname(op, metadata)
        if metadata.get("namespace") in (None, ""):
            metadata.pop("namespace", None)
            namespace = self._reach.settings.default_namespace()
            if namespace is not None and self._namespaced(kind):
                metadata["namespace"] = namespace
        inputs["metadata"] = metadata
        return Checked(inputs, failures)

    def _autoname(self, op: Operation, metadata: Object) -> list[CheckFailure]:
        old = reveal(op.olds.get("metadata")) or {}
        mode, proposed = op.autonaming or ("", "")
        if naming.annotated(reveal(op.olds), naming.AUTONAMED) and old.get("name"):
            name = old["name"]
        elif mode == "disable":
            why = "automatic naming is off for this project: give the object a name"
            return [CheckFailure("metadata.name", why)]
        elif mode in ("propose", "enforce") and proposed:
            name = proposed
        else:
            name = naming.autoname(op.name, op.random_seed)
        metadata["name"] = name
        given = metadata.get("annotations")
        if given is None or isinstance(given, dict):
            metadata["annotations"] = {**(given or {}), naming.AUTONAMED: "true"}
        return []

    def _namespaced(self, kind: Kind) -> bool:
        if kind.namespaced is not None:
            return kind.namespaced
        from toolchain.plugins.kubernetes.client import ApiError

        # A custom resource: only its definition says, which in a preview may not be there yet.
        try:
            return not self._reach.reason and bool(self._reach.cluster().client.namespaced(kind))
        except (ApiError, ProviderError):
            return False

    def diff(self, op: Operation) -> Diff:
        news = reveal(op.news)
        kind = naming.kind_of(op.type, news)
        fields = immutable_fields(
            kind,
            news,
            secret_mutable=self._reach.settings.secret_mutable,
            config_map_mutable=self._reach.settings.config_map_mutable,
        )
        if naming.is_patch(op.type, kind):
            fields = fields[:2]
        found = difference(kind, op.olds, op.news, fields)
        if kind.kind == "Job" and naming.annotated(news, naming.REPLACE_UNREADY) and self._unready(kind, op):
            path = f'metadata.annotations["{naming.REPLACE_UNREADY}"]'
            found.changes[path] = Change.UPDATE
            found.replaces.add(path)
            found.delete_before_replace = not naming.annotated(news, naming.AUTONAMED)
        return found

    def _unready(self, kind: Kind, op: Operation) -> bool:
        from toolchain.plugins.kubernetes import readiness, waiting
        from toolchain.plugins.kubernetes.client import ApiError

        # A Job that is complete stays so: the state knows, and nobody need be asked.
        if readiness.condition(reveal(op.olds), "Complete") is not None or self._reach.reason:
            return False
        try:
            cluster = self._reach.cluster()
            live = cluster.get(kind, *naming.parse_id(op.id))
            return live is not None and not waiting.now(cluster.client, kind, live).done
        except (ApiError, ProviderError):
            return False

    def create(self, op: Operation) -> State:
        inputs = reveal(op.news)
        kind = naming.kind_of(op.type, inputs)
        manager = naming.field_manager(inputs, {})
        if op.preview:
            return State("", self._preview_create(kind, inputs, manager, op))
        self._reach.demand()
        what = f'resource "{op.urn}" was not successfully created by the Kubernetes API server'
        with self._explained(op, what):
            cluster = self._reach.cluster()
            force = self._force(inputs)
            warn = self._warn(op)
            if naming.is_patch(op.type, kind):
                metadata = inputs["metadata"]
                if cluster.get(kind, metadata.get("namespace", ""), metadata["name"]) is None:
                    what = f'{kind.kind} "{naming.object_id(metadata)}"'
                    raise ProviderError(f"{what} does not exist, and a Patch resource makes none")
                live = cluster.apply(kind, inputs, manager, force=force, warn=warn)
            elif self._reach.settings.upsert:
                live = cluster.upsert(kind, inputs, manager, force=force, warn=warn)
            else:
                live = cluster.create(kind, inputs, warn)
        identity = naming.object_id(live["metadata"])
        what = f'resource "{op.urn}" was successfully created, but the Kubernetes API server reported that it'
        live = self._await(
            kind, live, manager, op, identity, f"{what} failed to fully initialize or become live"
        )
        return State(identity, self._state(kind, live, manager, op))

    def _preview_create(self, kind: Kind, inputs: Object, manager: str, op: Operation) -> Properties:
        """What the server would make of it; the inputs where it cannot be asked."""
        patch = naming.is_patch(op.type, kind)
        if patch or has_unknown(inputs) or self._reach.reason:
            return op.news
        from toolchain.plugins.kubernetes.client import KindMissing

        cluster = self._reach.cluster()
        what = f'resource "{op.urn}" was not successfully created by the Kubernetes API server'
        with self._explained(op, what):
            try:
                live = (
                    cluster.dry_upsert(kind, inputs, manager)
                    if self._reach.settings.upsert
                    else cluster.dry_create(kind, inputs)
                )
            except KindMissing:
                return op.news
        if live is None:
            return op.news
        return objects.state(op.news, live, api_version=kind.api_version, manager=manager, preview=True)

    def update(self, op: Operation) -> Properties:
        inputs = reveal(op.news)
        kind = naming.kind_of(op.type, inputs)
        olds = reveal(op.olds)
        manager = naming.field_manager(inputs, olds)
        if op.preview and (has_unknown(inputs) or self._reach.reason):
            return op.news
        self._reach.demand()
        from toolchain.plugins.kubernetes.client import ApiError, KindMissing

        what = f'the Kubernetes API server reported that "{op.id}" failed to fully initialize or become live'
        cluster = self._reach.cluster()
        try:
            live = self._apply(kind, inputs, manager, op)
        except KindMissing as error:
            if op.preview:
                return op.news
            raise ProviderError(f'update of resource "{op.urn}" failed: {error}') from None
        except Cancelled:
            raise
        except (ApiError, ProviderError) as error:
            if op.preview and isinstance(error, ApiError) and error.status == 403:
                return op.news
            found = self._as_it_is(kind, op, error)
            # The state takes the new inputs with an error, and the object as it is: the next run tries again.
            self._fail(kind, found, manager, op, op.id, [f"{what}: {error}"])
        if op.preview:
            return self._state(kind, live, manager, op)
        live = self._await(kind, live, manager, op, op.id, what)
        old = olds.get("__fieldManager")
        if old and old != manager:
            with self._explained(op, what):
                cluster.release(kind, *naming.parse_id(op.id), old)
        return self._state(kind, live, manager, op)

    def _apply(self, kind: Kind, inputs: Object, manager: str, op: Operation) -> Object:
        """The update itself, or its dry run; raises as the cluster's operations do."""
        from toolchain.plugins.kubernetes.cluster import forced_in_preview

        cluster = self._reach.cluster()
        live = cluster.existing(kind, *naming.parse_id(op.id))
        if not op.preview and not naming.is_patch(op.type, kind):
            cluster.take_over(kind, live, manager)
        force = self._force(inputs) or (op.preview and forced_in_preview(live))
        done: Object = cluster.apply(
            kind, inputs, manager, force=force, preview=op.preview, warn=self._warn(op)
        )
        return done

    def _as_it_is(self, kind: Kind, op: Operation, error: Exception) -> Object:
        """The object after a failed update. Raises ProviderError, of both failures, when it cannot be had."""
        from toolchain.plugins.kubernetes.client import ApiError

        try:
            found: Object = self._reach.cluster().existing(kind, *naming.parse_id(op.id))
        except (ApiError, ProviderError) as second:
            text = f'update of resource "{op.urn}" failed: {error}\nunable to get cluster state: {second}'
            raise ProviderError(self._hide(op, text)) from None
        return found

    def read(self, op: Operation) -> State:
        if (unread := self._reach.read(op)) is not None:
            return unread
        plain = reveal(op.old_inputs)
        olds = reveal(op.olds)
        known = plain or olds
        kind = naming.kind_of(op.type, known)
        manager = naming.field_manager(plain, olds)
        namespace, name = naming.parse_id(op.id)
        from toolchain.plugins.kubernetes.client import KindMissing

        with self._explained(op, ""):
            cluster = self._reach.cluster()
            try:
                if not namespace and not known and cluster.client.namespaced(kind):
                    namespace = self._reach.settings.default_namespace() or "default"
                live = cluster.get(kind, namespace, name)
            except KindMissing:
                live = None
        if live is None:
            return State("")
        if plain:
            wanted = reveal(objects.normalized(op.old_inputs, kind))
            inputs = objects.secret_inputs(objects.prune(live, wanted), op.old_inputs)
        else:
            inputs = objects.secret_inputs(objects.imported_inputs(live), {})
        version = self._first_version(kind, op)
        outputs = objects.state(inputs, live, api_version=version, manager=manager)
        if plain and not naming.is_patch(op.type, kind) and not naming.annotated(plain, naming.SKIP_AWAIT):
            from toolchain.plugins.kubernetes import waiting

            with self._explained(op, ""):
                step = waiting.now(cluster.client, kind, live)
            if step.failed:
                raise init_failed(op.id, outputs, [step.message], inputs)
        return State(op.id, outputs, inputs)

    def delete(self, op: Operation) -> None:
        olds = reveal(op.olds)
        inputs = reveal(op.old_inputs) or olds.get("__inputs") or {}
        kind = naming.kind_of(op.type, olds or inputs)
        namespace, name = naming.parse_id(op.id)
        if self._reach.forgets(op):
            return
        from toolchain.plugins.kubernetes import waiting
        from toolchain.plugins.kubernetes.client import KindMissing

        with self._explained(op, ""):
            cluster = self._reach.cluster()
            try:
                if naming.is_patch(op.type, kind):
                    manager = naming.field_manager({}, olds)
                    cluster.release(kind, namespace, name, manager)
                    return
                default = "background" if kind.leaf else "foreground"
                chosen = naming.annotations_of(inputs).get(naming.PROPAGATION, default)
                policy = _POLICIES.get(chosen.lower(), "Foreground")
                asked = cluster.delete(kind, namespace, name, policy)
            except KindMissing:
                # Without its definition no object of the kind exists.
                return
            if asked is not None and not naming.annotated(inputs, naming.SKIP_AWAIT):
                seconds = waiting.seconds_for(inputs, op.timeout)
                waiting.until_gone(cluster.client, asked, seconds, op)

    def close(self) -> None:
        self._reach.close()

    # --- helpers ---

    def _force(self, inputs: Object) -> bool:
        """Whether fields of others are taken from them."""
        return naming.annotated(inputs, naming.PATCH_FORCE) or self._reach.settings.patch_force

    def _warn(self, op: Operation) -> Callable[[str], None]:
        return (lambda _: None) if self._reach.settings.suppress_deprecations else op.warn

    def _first_version(self, kind: Kind, op: Operation) -> str:
        return str(reveal(op.olds).get("__initialApiVersion") or kind.api_version)

    def _state(self, kind: Kind, live: Object, manager: str, op: Operation) -> Properties:
        version = self._first_version(kind, op)
        return objects.state(op.news, live, api_version=version, manager=manager)

    def _await(
        self, kind: Kind, live: Object, manager: str, op: Operation, identity: str, what: str
    ) -> Object:
        """The object when it is ready; InitFailed, with the object, when it does not become so."""
        inputs = reveal(op.news)
        if naming.annotated(inputs, naming.SKIP_AWAIT) or naming.is_patch(op.type, kind):
            return live
        from toolchain.plugins.kubernetes import waiting

        try:
            seconds = waiting.seconds_for(inputs, op.timeout)
            return waiting.until_ready(self._reach.cluster().client, kind, live, seconds, op)
        except waiting.NotReady as error:
            first, *more = error.reasons
            self._fail(kind, error.live, manager, op, identity, [f"{what}: {first}", *more])
        except ProviderError as error:
            self._fail(kind, live, manager, op, identity, [f"{what}: {error}"])

    def _fail(
        self, kind: Kind, live: Object, manager: str, op: Operation, identity: str, reasons: list[str]
    ) -> NoReturn:
        shown = [self._hide(op, text) for text in reasons]
        raise init_failed(identity, self._state(kind, live, manager, op), shown)

    def _remember(self, *properties: Properties) -> None:
        """Keep the secrets of all resources seen: a pod's log may tell what it got from another's Secret."""
        found = set().union(*map(secret_texts, properties))
        with self._lock:
            self._secrets |= found

    def _hide(self, op: Operation, text: str) -> str:
        self._remember(op.news, op.olds)
        with self._lock:
            return Redaction(self._secrets)(text)

    def _explained(self, op: Operation, what: str) -> Explained:
        return Explained(what, lambda text: self._hide(op, text))
