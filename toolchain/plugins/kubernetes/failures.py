"""How failures reach the operator."""

from __future__ import annotations

from collections.abc import Callable

from toolchain.plugins.common.errors import InitFailed, ProviderError
from toolchain.plugins.common.provider import Properties


def init_failed(
    identity: str, outputs: Properties, reasons: list[str], inputs: Properties | None = None
) -> InitFailed:
    """The error of an object that exists and is not ready; arguments as `InitFailed`'s."""
    error = InitFailed(identity, outputs, reasons, inputs)
    # The engine shows the reasons below; the text itself is the first alone.
    error.args = (reasons[0],)
    return error


class Explained:
    """Turns the API's refusals into the operator's errors, secrets hidden; lets `InitFailed` pass."""

    def __init__(self, what: str, hide: Callable[[str], str]) -> None:
        self._what, self._hide = what, hide

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from toolchain.plugins.kubernetes.client import ApiError

        plain = isinstance(error, ProviderError) and type(error).__name__ not in ("InitFailed", "Cancelled")
        if isinstance(error, ApiError) or plain:
            text = f"{self._what}: {error}" if self._what else str(error)
            raise ProviderError(self._hide(text)) from None
