"""Run one command on this machine, and collect the files it made."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.plugins.command.mux import memory_file
from toolchain.plugins.command.output import Capture, Logging, Redaction
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.common.values import Asset

# A cancelled command has this long to end by itself before it is killed.
_GRACE_SECONDS = 3.0


@dataclass
class Result:
    """What a command wrote, each less one final newline."""

    stdout: str
    stderr: str


def run(
    command: str,
    op: Operation,
    *,
    interpreter: Sequence[str] = (),
    directory: str | None = None,
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    logging: Logging | None = None,
    redaction: Redaction | None = None,
) -> Result:
    """Run `command` as the last argument of `interpreter` (default: /bin/sh -c) and wait for its end.

    The environment is this process's with `environment` on top.

    Raises:
        ProviderError: it could not be started, or failed: with its status, text and output.
        Cancelled: the engine cancelled; the command and its children got SIGTERM, then SIGKILL.
    """
    capture = Capture(op, logging or Logging(), redaction or Redaction(()))
    arguments = [*(interpreter or ("/bin/sh", "-c")), command]
    source = memory_file("stdin", stdin.encode()) if stdin else os.open(os.devnull, os.O_RDONLY)
    try:
        op.cancellation.check()
        process = subprocess.Popen(
            arguments,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        missing = directory if directory and not os.path.isdir(directory) else arguments[0]
        raise ProviderError(capture.failure(f"cannot start {missing}: {error}", command)) from error
    finally:
        os.close(source)
    assert process.stdout is not None
    assert process.stderr is not None
    # `Capture` closes what it reads; the process object must not close the same numbers again.
    streams = os.dup(process.stdout.fileno()), os.dup(process.stderr.fileno())
    process.stdout.close()
    process.stderr.close()
    try:
        with op.cancellation.calling(lambda: _stop(process)):
            capture.read(*streams)
            process.wait()
    except Cancelled:
        # Cancelled before the first read: nothing has closed the streams yet.
        _stop(process)
        process.wait()
        for stream in streams:
            os.close(stream)
    if op.cancellation.is_set():
        raise Cancelled(capture.failure("cancelled", command))
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise ProviderError(capture.failure(f"ended by {name}", command))
    if process.returncode > 0:
        raise ProviderError(capture.failure(f"exit status {process.returncode}", command))
    return Result(capture.text("stdout"), capture.text("stderr"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    def signal_group(number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    signal_group(signal.SIGTERM)
    killer = threading.Timer(_GRACE_SECONDS, signal_group, (signal.SIGKILL,))
    killer.daemon = True
    killer.start()


def collect(directory: str | None, patterns: Sequence[str]) -> dict[str, Asset]:
    """Files below `directory` (default: the working one) that the patterns name: assets by relative path.

    Patterns are tried in order: one that begins with "!" takes files out again. "*" and "?" stay within a
    path segment, "**" does not; "[...]" and "{a,b}" as usual.

    Raises:
        ProviderError: a pattern cannot be understood, or a file not be read.
    """
    start = base(directory)
    compiled = [(pattern.startswith("!"), _glob(pattern.removeprefix("!"))) for pattern in patterns]
    found: dict[str, Asset] = {}
    for folder, folders, files in os.walk(start):
        folders.sort()
        for name in sorted(files):
            path = Path(folder) / name
            relative = path.relative_to(start).as_posix()
            keep = False
            for exclude, regex in compiled:
                if regex.fullmatch(relative):
                    keep = not exclude
            if keep:
                found[relative] = Asset(hash=_sha256(path), path=str(path))
    return found


def base(directory: str | None) -> Path:
    """The folder a command runs in."""
    return Path(directory or os.getcwd())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProviderError(f"assetPaths: cannot read {path}: {error}") from error


def _glob(pattern: str) -> re.Pattern[str]:
    out, index, depth = "", 0, 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**", index):
            out += ".*"
            index += 1
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "[" and "]" in pattern[index + 2 :]:
            end = pattern.index("]", index + 2)
            inner = pattern[index + 1 : end].replace("\\", "\\\\")
            out += f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
            index = end
        elif char == "{":
            out += "(?:"
            depth += 1
        elif char == "}" and depth:
            out += ")"
            depth -= 1
        elif char == "," and depth:
            out += "|"
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += re.escape(char)
        index += 1
    try:
        return re.compile(out, re.DOTALL)
    except re.error as error:
        raise ProviderError(f"assetPaths: cannot understand the pattern {pattern!r}: {error}") from error
