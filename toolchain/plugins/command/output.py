"""A command's output: captured, shown as progress, told of in its failure; never with secrets."""

from __future__ import annotations

import json
import os
import re
import selectors
import time
from collections.abc import Iterable
from dataclasses import dataclass

from toolchain.plugins.common.engine import Severity
from toolchain.plugins.common.provider import Operation

# Shorter secrets are not searched for in output: hiding every "a" would hide nothing and spoil all text.
_SHORTEST_SECRET = 4
_SHORTEST_SECRET_LINE = 8
HIDDEN = "[secret]"
# Lines shown at full speed; past them one in this many seconds, for a command that writes thousands.
_LINES_AT_ONCE = 200
_LINE_SECONDS = 0.05


class Redaction:
    """Hides known secrets in text that leaves for logs and errors."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts: set[str] = set()
        for secret in secrets:
            stripped = secret.strip()
            if len(stripped) >= _SHORTEST_SECRET:
                parts.add(stripped)
            lines = secret.splitlines()
            if len(lines) > 1:
                parts.update(line.strip() for line in lines if len(line.strip()) >= _SHORTEST_SECRET_LINE)
        # Longest first, so that a secret within another does not leave the rest of it standing.
        longest_first = sorted(parts, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if parts else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(HIDDEN, text) if self._pattern else text


@dataclass(frozen=True)
class Logging:
    """Which streams are shown as progress."""

    stdout: bool = True
    stderr: bool = True

    @staticmethod
    def of(value: str | None) -> Logging:
        """From the `logging` input: "stdout", "stderr", "stdoutAndStderr" (also the default), "none"."""
        chosen = value or "stdoutAndStderr"
        return Logging(chosen in ("stdout", "stdoutAndStderr"), chosen in ("stderr", "stdoutAndStderr"))


class Capture:
    """Reads a command's two output streams to their ends."""

    def __init__(self, op: Operation, logging: Logging, redaction: Redaction) -> None:
        self._op = op
        self._redaction = redaction
        self._shown = {"stdout": logging.stdout, "stderr": logging.stderr}
        self._parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._both: list[bytes] = []
        self._partial = {"stdout": b"", "stderr": b""}
        self._lines = 0
        self._last_line = 0.0

    def read(self, stdout: int, stderr: int, stop: int | None = None) -> None:
        """Read both file descriptors to their ends and close them; give up once `stop` is readable."""
        with selectors.DefaultSelector() as selector:
            if stop is not None:
                selector.register(stop, selectors.EVENT_READ, "stop")
            for name, descriptor in (("stdout", stdout), ("stderr", stderr)):
                selector.register(descriptor, selectors.EVENT_READ, name)
            try:
                ends = 2
                while ends:
                    for key, _ in selector.select():
                        if key.data == "stop":
                            return
                        part = os.read(key.fd, 65536)
                        if part:
                            self._take(str(key.data), part)
                        else:
                            selector.unregister(key.fd)
                            ends -= 1
            finally:
                os.close(stdout)
                os.close(stderr)
        for name, rest in self._partial.items():
            if rest:
                self._show(name, rest, last=True)

    def _take(self, name: str, part: bytes) -> None:
        self._parts[name].append(part)
        self._both.append(part)
        *lines, self._partial[name] = (self._partial[name] + part).split(b"\n")
        for index, line in enumerate(lines):
            self._show(name, line, last=index == len(lines) - 1)

    def _show(self, name: str, line: bytes, *, last: bool) -> None:
        if not self._shown[name]:
            return
        self._lines += 1
        now = time.monotonic()
        if self._lines > _LINES_AT_ONCE and (not last or now - self._last_line < _LINE_SECONDS):
            return
        self._last_line = now
        text = line.decode(errors="replace").rstrip("\r")
        self._op.engine.log(Severity.INFO, self._redaction(text), self._op.urn, status=True)

    def text(self, name: str) -> str:
        """All of "stdout" or "stderr", less one final newline."""
        return b"".join(self._parts[name]).decode(errors="replace").removesuffix("\n")

    def failure(self, what: str, command: str) -> str:
        """The error text of a failed command: what happened, the command, both streams as they came."""
        both = b"".join(self._both).decode(errors="replace")
        shown = json.dumps(self._redaction(command), ensure_ascii=False)
        return f"{what}: running {shown}:\n{self._redaction(both)}"
