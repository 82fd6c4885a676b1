"""The cluster that the provider was configured for, and whether it counts as reachable."""

from __future__ import annotations

import threading
from typing import Any

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Cancellation, Operation, Properties, State
from toolchain.plugins.kubernetes import settings

_FORGET = (
    "If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation "
    'with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)
_SKIPPED = "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping..."


class Reach:
    """Judged once, when configured, as the official plugin does it: what comes up later stays unreachable.

    Attributes:
        settings: of the provider.
        reason: why the cluster counts as unreachable; empty: it does not.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self.settings = settings.Settings()
        self.reason = ""
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._proxy: Any = None

    def configure(self, inputs: Properties) -> None:
        """Take the settings, and judge the cluster. Never raises: previews do without a cluster."""
        try:
            self.settings = settings.settings(inputs)
            settings.cluster(self.settings)
        except ProviderError as error:
            self.reason = f"failed to parse kubeconfig data in `kubernetes:config:kubeconfig`- {error}"
            return
        if not self.settings.known:
            self.reason = "the provider's kubeconfig is not known yet"
            return
        from toolchain.plugins.kubernetes.client import ApiError

        try:
            self.cluster().judge()
        except (ApiError, ProviderError) as error:
            self.reason = f"unable to load schema information from the API server: {error}"

    def cluster(self) -> Any:
        """The cluster, connected to at first use. Raises ProviderError when kubectl proxy does not start."""
        with self._lock:
            if self._cluster is None:
                from toolchain.plugins.kubernetes.client import Client, SocketTransport
                from toolchain.plugins.kubernetes.cluster import Cluster
                from toolchain.plugins.kubernetes.proxy import Proxy

                found = self.settings
                self._proxy = Proxy(found.kubeconfig, found.context, found.cluster)
                server = str((settings.cluster(found) or {}).get("server") or "")
                transport = SocketTransport(self._proxy.socket)
                self._cluster = Cluster(Client(transport, self._cancellation, server))
            return self._cluster

    def use(self, cluster: Any) -> None:
        """Use this cluster; for tests."""
        self._cluster = cluster

    def demand(self) -> None:
        """Raises ProviderError when the cluster counts as unreachable."""
        if self.reason:
            raise ProviderError(self._text)

    def skips(self, op: Operation) -> bool:
        """Whether nothing is to be done, told with a warning: the cluster is away and the settings say so."""
        if not self.reason or not self.settings.skip_update_unreachable:
            return False
        op.warn(_SKIPPED)
        return True

    def read(self, op: Operation) -> State | None:
        """What is read of an object when the cluster counts as unreachable; None when it does not.

        Raises:
            ProviderError: nothing, and the settings do not say what to do.
        """
        if not self.reason:
            return None
        op.warn(self._text)
        if self.settings.delete_unreachable:
            op.log("`deleteUnreachable` is set: the object is forgotten")
            return State("")
        if self.settings.skip_update_unreachable:
            op.log("`skipUpdateUnreachable` is set: the object may be another by now")
            return State(op.id, op.olds, op.old_inputs)
        raise ProviderError("failed to read resource state due to unreachable cluster. " + _FORGET)

    def forgets(self, op: Operation) -> bool:
        """Whether an object that is to be deleted is forgotten instead, as the cluster counts as unreachable.

        Raises:
            ProviderError: it does, and the settings do not say so.
        """
        if not self.reason:
            return False
        op.warn(self._text)
        if not self.settings.delete_unreachable:
            raise ProviderError("configured Kubernetes cluster is unreachable. " + _FORGET)
        op.log("`deleteUnreachable` is set: the object is forgotten")
        return True

    @property
    def _text(self) -> str:
        return f"configured Kubernetes cluster is unreachable: {self.reason}"

    def close(self) -> None:
        """Stop the proxy."""
        if self._proxy is not None:
            self._proxy.close()
