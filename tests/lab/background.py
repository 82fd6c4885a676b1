"""What goes on in a thread of its own beside a test, until it is left."""

from __future__ import annotations

import threading
from typing import Self


class Background:
    """Calls ``_loop`` from its entry on; that returns once ``_end`` is set."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        raise NotImplementedError
