"""Running commands and telling the user what takes time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """Something the user has to know: one sentence on what is wrong and what to type next."""


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> str:
    """Run a command and return its standard output.

    timeout is in seconds; the commands of the lab normally take well under one.
    Raises LabError with the command's own last words when it fails (unless check is False) or hangs.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=dict(env) if env is not None else None,
            pass_fds=tuple(pass_fds),
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed: run `make bootstrap` first") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(argv[:4])} …` did not end within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise LabError(f"`{' '.join(argv[:4])} …` failed ({done.returncode}): {' | '.join(said[-3:])}")
    return done.stdout


_lock = threading.Lock()


def say(text: str) -> None:
    """Print a line of progress to standard error; whole lines, also from several threads."""
    with _lock:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a step that takes time, and when it ended well, how long it took."""
    say(f"lab: {text} …")
    begin = time.monotonic()
    yield
    say(f"lab: {text}: done in {time.monotonic() - begin:.1f} s")


def wait_for(probe: Callable[[], T | None], *, limit: float, what: str, pause: float = 0.1) -> T:
    """Ask probe every pause seconds until it answers something other than None; return that.

    Raises LabError naming what was waited for when limit seconds pass first.
    """
    end = time.monotonic() + limit
    while True:
        answer = probe()
        if answer is not None:
            return answer
        if time.monotonic() > end:
            raise LabError(f"{what} did not happen within {limit:.0f} s")
        time.sleep(pause)
