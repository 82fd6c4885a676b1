"""For the person who watches a deployment."""

from __future__ import annotations

from collections.abc import Callable

import pytest


def teller(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells the person who watches how far it is."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n    {text}", end="", flush=True)

    return tell
