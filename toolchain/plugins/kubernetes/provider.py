"""The kubernetes provider: what the engine asks, resource by resource."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from toolchain.plugins.command.output import Redaction
from toolchain.plugins.common.diff import Diff
from toolchain.plugins.common.diff import Kind as Change
from toolchain.plugins.common.errors import ProviderError
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
        self.settings = settings.Settings()
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._close: Callable[[], None] = lambda: None
        self._answers: bool | None = None
        self._secrets: set[str] = set()

    # --- configuration ---

    def check_config(self, op: Operation) -> Checked:
        return Checked(op.news, settings.check(reveal(op.news)))

    def diff_config(self, op: Operation) -> Diff:
        """Only another API server is another cluster: new credentials for the same one replace nothing."""
        olds, news = op.old_inputs or op.olds, op.news
        changes = {
            name: Change.UPDATE
            if name in olds and name in news
            else Change.ADD
            if name in news
            else Change.DELETE
            for name in sorted(set(olds) | set(news))
            if reveal(olds.get(name)) != reveal(news.get(name))
        }
        before, after = settings.server(olds), settings.server(news)
        moved = bool(changes) and None not in (before, after) and before != after
        return Diff(changes=changes, replaces={"kubeconfig"} & set(changes) if moved else set())

    def configure(self, inputs: Properties, variables: Mapping[str, str]) -> None:
        self.settings = settings.settings(inputs)

    # --- resources ---

    def check(self, op: Operation) -> Checked:
        inputs = objects.normalized(op.news)
        self._remember(op.news, inputs)
        plain = reveal(inputs)
        kind = naming.kind_of(op.type, plain)
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
            namespace = self.settings.default_namespace()
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
            return self._reachable() and bool(self._of_cluster().client.namespaced(kind))
        except (ApiError, ProviderError):
            return False

    def diff(self, op: Operation) -> Diff:
        olds = reveal(op.old_inputs or op.olds.get("__inputs") or {})
        news = reveal(op.news)
        kind = naming.kind_of(op.type, news)
        fields = immutable_fields(
            kind,
            news,
            secret_mutable=self.settings.secret_mutable,
            config_map_mutable=self.settings.config_map_mutable,
        )
        if naming.is_patch(op.type, kind):
            fields = fields[:2]
        live_metadata = reveal(op.olds.get("metadata")) or {}
        found = difference(olds, news, fields, live_metadata)
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
        if readiness.condition(reveal(op.olds), "Complete") is not None or not self._reachable():
            return False
        try:
            cluster = self._of_cluster()
            live = cluster.get(kind, *naming.parse_id(op.id))
            return live is not None and not waiting.now(cluster.client, kind, live).done
        except (ApiError, ProviderError):
            return False

    def create(self, op: Operation) -> State:
        inputs = reveal(op.news)
        kind = naming.kind_of(op.type, inputs)
        manager = naming.field_manager(op.urn, inputs, {})
        if op.preview:
            return State("", self._preview_create(kind, inputs, manager, op))
        with self._explained(op, f"resource {op.name} was not successfully created"):
            cluster = self._of_cluster()
            force = naming.annotated(inputs, naming.PATCH_FORCE)
            warn = self._warn(op)
            if naming.is_patch(op.type, kind):
                metadata = inputs["metadata"]
                if cluster.get(kind, metadata.get("namespace", ""), metadata["name"]) is None:
                    what = f'{kind.kind} "{naming.object_id(metadata)}"'
                    raise ProviderError(f"{what} does not exist, and a Patch resource makes none")
                live = cluster.apply(kind, inputs, manager, force=force, warn=warn)
            else:
                live = cluster.create(kind, inputs, manager, force=force, warn=warn)
        identity = naming.object_id(live["metadata"])
        what = f'resource "{op.urn}" was successfully created, but the Kubernetes API server reported that it'
        live = self._await(
            kind, live, manager, op, identity, f"{what} failed to fully initialize or become live"
        )
        return State(identity, self._state(kind, live, manager, op))

    def _preview_create(self, kind: Kind, inputs: Object, manager: str, op: Operation) -> Properties:
        """What the server would make of it; the inputs where it cannot be asked."""
        patch = naming.is_patch(op.type, kind)
        if patch or has_unknown(inputs) or not self._reachable():
            return op.news
        from toolchain.plugins.kubernetes.client import KindMissing, Unreachable

        with self._explained(op, f"resource {op.name} would not be accepted"):
            try:
                live = self._of_cluster().dry_create(kind, inputs, manager)
            except (KindMissing, Unreachable):
                return op.news
        if live is None:
            return op.news
        return objects.state(op.news, live, api_version=kind.api_version, manager=manager, preview=True)

    def update(self, op: Operation) -> Properties:
        inputs = reveal(op.news)
        kind = naming.kind_of(op.type, inputs)
        manager = naming.field_manager(op.urn, inputs, reveal(op.olds))
        if op.preview and (has_unknown(inputs) or not self._reachable()):
            return op.news
        from toolchain.plugins.kubernetes.client import KindMissing
        from toolchain.plugins.kubernetes.cluster import FieldConflict

        what = f'the Kubernetes API server reported that "{op.id}" failed to fully initialize or become live'
        cluster = self._of_cluster()
        with self._explained(op, what):
            try:
                live = cluster.apply(
                    kind,
                    inputs,
                    manager,
                    force=naming.annotated(inputs, naming.PATCH_FORCE),
                    preview=op.preview,
                    warn=self._warn(op),
                )
            except KindMissing:
                if op.preview:
                    return op.news
                raise
            except FieldConflict as error:
                if op.preview:
                    raise
                found = cluster.get(kind, *naming.parse_id(op.id))
                if found is None:
                    raise
                # The state takes the new inputs with an error: the next update tries again.
                self._fail(kind, found, manager, op, op.id, [f"{what}: {error}"])
            old = reveal(op.olds).get("__fieldManager")
            if not op.preview and old and old != manager:
                cluster.release(kind, *naming.parse_id(op.id), old)
        if op.preview:
            return self._state(kind, live, manager, op)
        live = self._await(kind, live, manager, op, op.id, what)
        return self._state(kind, live, manager, op)

    def read(self, op: Operation) -> State:
        plain = reveal(op.old_inputs)
        olds = reveal(op.olds)
        known = plain or olds
        kind = naming.kind_of(op.type, known)
        manager = naming.field_manager(op.urn, plain, olds)
        namespace, name = naming.parse_id(op.id)
        from toolchain.plugins.kubernetes.client import KindMissing

        with self._explained(op, f"{op.id} could not be read"):
            cluster = self._of_cluster()
            try:
                if not namespace and not known and cluster.client.namespaced(kind):
                    namespace = self.settings.default_namespace() or "default"
                live = cluster.get(kind, namespace, name)
            except KindMissing:
                live = None
        if live is None:
            return State("")
        if plain:
            inputs = objects.secret_inputs(objects.prune(live, plain), op.old_inputs)
        else:
            inputs = objects.secret_inputs(objects.imported_inputs(live), {})
        version = self._first_version(kind, op)
        outputs = objects.state(inputs, live, api_version=version, manager=manager)
        if plain and not naming.is_patch(op.type, kind) and not naming.annotated(plain, naming.SKIP_AWAIT):
            from toolchain.plugins.kubernetes import waiting

            with self._explained(op, f"{op.id} could not be read"):
                step = waiting.now(cluster.client, kind, live)
            if step.failed:
                raise init_failed(op.id, outputs, [step.message], inputs)
        return State(op.id, outputs, inputs)

    def delete(self, op: Operation) -> None:
        olds = reveal(op.olds)
        inputs = reveal(op.old_inputs) or olds.get("__inputs") or {}
        kind = naming.kind_of(op.type, olds or inputs)
        namespace, name = naming.parse_id(op.id)
        if self.settings.delete_unreachable and not self._reachable():
            op.warn("the cluster does not answer; deleteUnreachable is set: forgetting the object")
            return
        from toolchain.plugins.kubernetes import waiting
        from toolchain.plugins.kubernetes.client import KindMissing

        with self._explained(op, f"{op.id} was not deleted"):
            cluster = self._of_cluster()
            try:
                if naming.is_patch(op.type, kind):
                    manager = naming.field_manager(op.urn, {}, olds)
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
        self._close()

    # --- helpers ---

    def _of_cluster(self) -> Any:
        """The cluster, connected to at first use. Raises ProviderError without a known kubeconfig."""
        with self._lock:
            if self._cluster is None:
                if not self.settings.known:
                    raise ProviderError("the provider's kubeconfig is not known yet")
                from toolchain.plugins.kubernetes.client import Client, SocketTransport
                from toolchain.plugins.kubernetes.cluster import Cluster
                from toolchain.plugins.kubernetes.proxy import Proxy

                proxy = Proxy(self.settings.kubeconfig, self.settings.context, self.settings.cluster)
                self._close = proxy.close
                self._cluster = Cluster(Client(SocketTransport(proxy.socket), self.cancellation))
            return self._cluster

    def _reachable(self) -> bool:
        """Whether there is a cluster to ask, found out once."""
        if not self.settings.known:
            return False
        cluster = self._of_cluster()
        with self._lock:
            if self._answers is None:
                self._answers = bool(cluster.answers())
            return self._answers

    def _warn(self, op: Operation) -> Callable[[str], None]:
        return (lambda _: None) if self.settings.suppress_deprecations else op.warn

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
            return waiting.until_ready(self._of_cluster().client, kind, live, seconds, op)
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
