"""Makes or rotates a ring of Fernet keys that is the data of a Secret, by the API of Kubernetes.

Runs in a Job or a CronJob, by the environment alone and with the standard library alone; safe to run any
number of times, and from several pods at once: a Secret that somebody else has changed is not written.

    rotate_keys.py create    makes the first keys where there are none
    rotate_keys.py rotate    and otherwise turns the staged key into the primary

File 0 is the staged key, which encrypts next; the highest number is the primary, which encrypts; the rest
decrypt only (Keystone's administrator guide, "Key rotation").

RING_API RING_ACCOUNT        the API's URL; the folder of the token and the authority to speak to it with
RING_NAMESPACE RING_NAME   the Secret; it is there already, if without data
RING_MOST RING_LIFETIME      beyond so many, keys go whose last use is longer ago than that (seconds)
RING_SETTLE                  seconds between two rotations: until then the last may not be known everywhere
RING_JOB                     what asks for a rotation: it gets one, however often it is tried
RING_MIGRATE RING_VARIABLE   a command (JSON) that encrypts all anew with the ring in the folder that the
                             variable names; "[]" for none
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# On the Secret: since when each key is, or was, the primary (epoch seconds, by file); who rotated last.
SINCE, BY = "jarvis.internal/primary-since", "jarvis.internal/rotated-by"
_TIMEOUT = 30


def say(level: str, message: str) -> None:
    print(json.dumps({"level": level, "service": "keys", "message": message}), flush=True)


def fresh() -> str:
    """A Fernet key: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class Ring:
    """``keys`` by file. ``since``: when each became the primary, where that is known."""

    keys: dict[str, str]
    since: dict[str, int]

    def rotated(self, *, now: int, most: int, lifetime: int) -> Ring:
        """The ring after a rotation at the moment ``now``. Raises ``ValueError`` without a staged key."""
        if "0" not in self.keys:
            raise ValueError("the ring has no staged key, 0")
        primary = str(max(map(int, self.keys)) + 1)
        keys = {**self.keys, primary: self.keys["0"], "0": fresh()}
        since = {**self.since, primary: now}
        for number in sorted(set(map(int, keys)) - {0, int(primary)}):
            # It was used until the next one took over.
            if len(keys) <= most or now - since.get(str(number + 1), 0) < lifetime:
                break
            del keys[str(number)]
        return Ring(keys, {file: since[file] for file in keys if file in since})


class Secret:
    """The Secret, read once. ``ring``: in it; ``by``: who rotated last."""

    def __init__(self, environ: dict[str, str]) -> None:
        account = Path(environ["RING_ACCOUNT"])
        api, namespace = environ["RING_API"], environ["RING_NAMESPACE"]
        self.url = f"{api}/api/v1/namespaces/{namespace}/secrets/{environ['RING_NAME']}"
        self.token = (account / "token").read_text(encoding="ascii").strip()
        secure = api.startswith("https:")
        self.context = ssl.create_default_context(cafile=str(account / "ca.crt")) if secure else None
        self.found = self._call("GET")
        data = self.found.get("data") or {}
        notes = self.found["metadata"].get("annotations") or {}
        keys = {file: base64.b64decode(text).decode() for file, text in data.items()}
        self.ring = Ring(keys, json.loads(notes.get(SINCE, "{}")))
        self.by = notes.get(BY, "")

    def write(self, ring: Ring, by: str) -> None:
        """Replaces the ring. Raises ``HTTPError`` 409 where somebody else did since it was read."""
        metadata = self.found["metadata"]
        notes = {**(metadata.get("annotations") or {}), SINCE: json.dumps(ring.since), BY: by}
        data = {file: base64.b64encode(key.encode()).decode() for file, key in ring.keys.items()}
        self._call("PUT", {**self.found, "metadata": {**metadata, "annotations": notes}, "data": data})

    def _call(self, method: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}?fieldManager=jarvis-keys", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self.context) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


def migrate(ring: Ring, environ: dict[str, str]) -> None:
    """Encrypts with the primary of ``ring`` what others encrypted. Raises ``CalledProcessError``."""
    words = json.loads(environ["RING_MIGRATE"])
    if not words:
        return
    with tempfile.TemporaryDirectory() as folder:
        for file, key in ring.keys.items():
            path = Path(folder, file)
            path.touch(mode=0o600)
            path.write_text(key, encoding="ascii")
        subprocess.run(words, env={**environ, environ["RING_VARIABLE"]: folder}, check=True)


def main(command: str, environ: dict[str, str]) -> int:
    """Does it; the exit status."""
    secret, now = Secret(environ), int(time.time())
    ring, name = secret.ring, environ["RING_NAME"]
    if not ring.keys:
        secret.write(Ring({"0": fresh(), "1": fresh()}, {"1": now}), environ["RING_JOB"])
        say("INFO", f"{name}: there were no keys; the first two are made")
        return 0
    if command == "create":
        say("INFO", f"{name}: there are {len(ring.keys)} keys already")
        return 0
    # What was encrypted since the last rotation by a pod that did not know of it yet.
    migrate(ring, environ)
    if secret.by == environ["RING_JOB"]:
        say("INFO", f"{name}: was rotated by this very Job")
        return 0
    settled = max(ring.since.values(), default=0) + int(environ["RING_SETTLE"])
    if now < settled:
        say(
            "ERROR",
            f"{name}: not rotated, since not every pod may know of the last rotation yet; "
            f"it is tried again, and may be in {settled - now} s",
        )
        return 1
    after = ring.rotated(now=now, most=int(environ["RING_MOST"]), lifetime=int(environ["RING_LIFETIME"]))
    secret.write(after, environ["RING_JOB"])
    say("INFO", f"{name}: rotated; the primary is {max(map(int, after.keys))}, of {len(after.keys)} keys")
    migrate(after, environ)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], dict(os.environ)))
    except urllib.error.HTTPError as error:
        lost = "somebody else changed it meanwhile" if error.code == 409 else f"the API answers {error.code}"
        say("ERROR", f"{os.environ['RING_NAME']}: {lost}; it is tried again")
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        say("ERROR", f"{os.environ['RING_NAME']}: {error}; it is tried again")
    sys.exit(1)
