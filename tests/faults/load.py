"""A steady, bounded load: requests at fixed moments, whether those before were answered or not, and again a
second after one that was refused."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.faults.client import Refused, User

# More than are under way when none is answered: patience, twice (connect and answer), over the pace.
IN_FLIGHT = 12
# Seconds between two requests. Measured on two cores, which the servers and this load share: a token by
# password costs 0.34 CPU seconds (bcrypt), an upload 2.2 before Keystone had a cache (Glance asks it for
# limits 18 times), a validation, a write or a download 0.1, and proxies, database and storage half as much
# again; the servers at rest use 0.7 cores. So the load takes 0.6 cores at most, and leaves what is needed for
# healing: one that takes all is never served again.
PACES = {"token": 3.0, "validation": 1.5, "write": 3.0, "upload": 12.0, "download": 3.0}
# Who was refused asks again after so many seconds, as a user does: by the pace alone a single refused upload
# would count as a gap longer than its pace.
AGAIN_SECONDS = 1.0
# Who has been served for so many seconds, and twice at least, is served.
STEADY_SECONDS = 12.0


@dataclass
class Stream:
    """Requests of one kind. ``answers``: when each was sent and answered (monotonic seconds), and what was
    wrong, or an empty text."""

    kind: str
    pace: float
    send: Callable[[], None]
    answers: list[tuple[float, float, str]] = field(default_factory=list)

    def one(self) -> bool:
        """Sends one request; whether it succeeded."""
        began = time.monotonic()
        try:
            self.send()
            problem = ""
        except (OSError, Refused, ValueError) as error:
            problem = str(error) or type(error).__name__
        self.answers.append((began, time.monotonic(), problem))
        return not problem

    def good_since(self, moment: float) -> int:
        """How many requests that were sent after ``moment`` succeeded."""
        return sum(1 for sent, _, problem in list(self.answers) if sent > moment and not problem)

    def longest_gap(self) -> float:
        """The longest time, in seconds, for which somebody had asked and nobody was served: from the last
        success, or from the first request after it, until the next success or the last failure."""
        answers = sorted(self.answers, key=lambda answer: answer[1])
        if not answers:
            return 0.0
        good = [at for _, at, problem in answers if not problem]
        edges = [min(sent for sent, _, _ in answers), *good, answers[-1][1]]
        longest = 0.0
        for last, following in itertools.pairwise(edges):
            waited = [sent for sent, at, _ in answers if sent < following and at > last]
            if waited:
                longest = max(longest, following - max(last, min(waited)))
        return longest

    def summary(self) -> dict[str, Any]:
        """Requests sent and failed, the longest gap in seconds, and the failures."""
        problems = Counter(problem for _, _, problem in self.answers if problem)
        return {
            "sent": len(self.answers),
            "failed": sum(problems.values()),
            "longest_gap_seconds": round(self.longest_gap(), 2),
            "failures": dict(problems.most_common(5)),
        }


class Load:
    """Sends all kinds of requests that the deployment can answer, from entering until leaving."""

    def __init__(self, user: User) -> None:
        sends = {"token": user.issue, "validation": user.validate, "write": user.write}
        if user.image_url:
            sends |= {"upload": user.upload, "download": user.download}
        self.streams = [Stream(kind, PACES[kind], send) for kind, send in sends.items()]
        # For each stream: when a refused request is sent again; ``None`` is the end.
        self._again: list[queue.SimpleQueue[float | None]] = [queue.SimpleQueue() for _ in self.streams]
        self._threads = [
            threading.Thread(target=self._drive, args=(stream, again), daemon=True)
            for stream, again in zip(self.streams, self._again, strict=True)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for again in self._again:
            again.put(None)
        for thread in self._threads:
            thread.join()

    def _drive(self, stream: Stream, again: queue.SimpleQueue[float | None]) -> None:
        places = threading.Semaphore(IN_FLIGHT)

        def one() -> None:
            try:
                if not stream.one():
                    again.put(time.monotonic() + AGAIN_SECONDS)
            finally:
                places.release()

        due = time.monotonic()
        with ThreadPoolExecutor(max_workers=IN_FLIGHT) as pool:
            while True:
                try:
                    moment = again.get(timeout=max(0.0, due - time.monotonic()))
                except queue.Empty:
                    due += stream.pace
                    places.acquire()
                    pool.submit(one)
                else:
                    if moment is None:
                        return
                    due = min(due, moment)

    def steady(self, since: float) -> bool:
        """Whether of each kind enough requests sent after ``since`` succeeded."""
        return all(
            stream.good_since(since) >= max(2, round(STEADY_SECONDS / stream.pace)) for stream in self.streams
        )
