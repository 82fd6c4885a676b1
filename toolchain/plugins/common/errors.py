"""The errors a provider answers with."""

from __future__ import annotations

from collections.abc import Mapping

from toolchain.plugins.common.values import Value


class ProviderError(Exception):
    """An operation failed; its text is what the operator reads. The state keeps what it had."""


class Cancelled(ProviderError):
    """The engine cancelled the operation, or is gone."""


class InitFailed(ProviderError):
    """The object exists but did not become ready: the state keeps it, and the next update tries again.

    Attributes:
        id: the object's id.
        properties: its outputs so far.
        inputs: its inputs, when they differ from the request's.
        reasons: one line each, shown under the resource.
    """

    def __init__(
        self,
        id: str,
        properties: Mapping[str, Value],
        reasons: list[str],
        inputs: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__("; ".join(reasons))
        self.id = id
        self.properties = properties
        self.inputs = inputs
        self.reasons = reasons
