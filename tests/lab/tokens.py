"""A client that asks for one token after the other."""

from __future__ import annotations

import itertools
import json
import ssl
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.lab.background import Background

# A client gives an answer up after this time and asks again.
PATIENCE_SECONDS = 5
# Between two questions: password tokens cost a third of a CPU second each, and the machine has other work.
PAUSE_SECONDS = 0.2


class TokenLoop(Background):
    """Asks the gateway for tokens, by a new connection each, from a thread of its own, until it is left.

    With ``validate`` each token, and the very first one, must be found valid as well, by itself.
    ``answers``: moment (seconds of the monotonic clock) and outcome of each: an empty text for a token, or
    what was wrong.
    """

    def __init__(self, clouds: Path, authority: Path, *, validate: bool = False) -> None:
        super().__init__()
        auth: dict[str, Any] = yaml.safe_load(clouds.read_text(encoding="utf-8"))["clouds"]["jarvis"]["auth"]
        user = {"name": auth["username"], "password": auth["password"], "domain": {"name": "Default"}}
        project = {"name": auth["project_name"], "domain": {"name": "Default"}}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": project},
            }
        }
        self._body = json.dumps(body).encode()
        self._url = f"{auth['auth_url']}/auth/tokens"
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._validate = validate
        self._first = ""
        self.answers: list[tuple[float, str]] = []

    def _loop(self) -> None:
        while not self._end.is_set():
            self.answers.append((time.monotonic(), self._ask()))
            self._end.wait(PAUSE_SECONDS)

    def _ask(self) -> str:
        try:
            token = self._call(self._body, {"Content-Type": "application/json"})
            self._first = self._first or token
            for each in (token, self._first) if self._validate else ():
                self._call(None, {"X-Auth-Token": each, "X-Subject-Token": each})
            return "" if token else "no token in the answer"
        except OSError as error:
            return str(error) or type(error).__name__

    def _call(self, body: bytes | None, headers: dict[str, str]) -> str:
        """A token that is issued, or validated; the answer names it."""
        request = urllib.request.Request(self._url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=self._tls) as answer:
            return answer.headers["X-Subject-Token"] or ""

    def tokens_since(self, moment: float) -> int:
        """How many tokens were issued after ``moment``."""
        return sum(1 for at, problem in list(self.answers) if at > moment and not problem)

    def problems(self) -> list[str]:
        """What was wrong, each time."""
        return [problem for _, problem in list(self.answers) if problem]

    def longest_gap(self) -> float:
        """The longest time between two tokens, in seconds."""
        times = [at for at, problem in list(self.answers) if not problem]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
