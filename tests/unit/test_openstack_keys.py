"""The script that makes and rotates keys, against an API of Kubernetes that has one Secret."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jarvis.openstack.build.tasks import rotate_keys as script

PATH = "/api/v1/namespaces/openstack/secrets/ring?fieldManager=jarvis-keys"
DAY = 86_400


class Api:
    """One Secret, which can be replaced by who knows its version. ``meanwhile`` is done before a PUT."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] = {"metadata": {"name": "ring", "resourceVersion": "1"}}
        self.meanwhile: Callable[[], None] = lambda: None

    def put(self, body: dict[str, Any]) -> int:
        if body["metadata"]["resourceVersion"] != self.secret["metadata"]["resourceVersion"]:
            return 409
        self.secret = body
        self.touch()
        return 200

    def touch(self) -> None:
        version = int(self.secret["metadata"]["resourceVersion"]) + 1
        self.secret = {
            **self.secret,
            "metadata": {**self.secret["metadata"], "resourceVersion": str(version)},
        }

    def keys(self) -> dict[str, str]:
        return {file: base64.b64decode(key).decode() for file, key in self.secret["data"].items()}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def environ(api: Api, tmp_path: Path) -> Iterator[dict[str, str]]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200)

        def do_PUT(self) -> None:
            api.meanwhile()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(api.put(body))

        def _answer(self, status: int) -> None:
            allowed = self.headers["Authorization"] == "Bearer token" and self.path == PATH
            self.send_response(status if allowed else 403)
            self.end_headers()
            self.wfile.write(json.dumps(api.secret).encode())

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "token").write_text("token\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log = tmp_path / "migrated"
    program = f"import os, sys; p = os.environ['FOLDER']; m = max(map(int, os.listdir(p)));\
open({str(log)!r}, 'a').write(open(f'{{p}}/{{m}}').read() + '\\n')"
    yield {
        "RING_API": f"http://127.0.0.1:{server.server_port}",
        "RING_ACCOUNT": str(tmp_path),
        "RING_NAMESPACE": "openstack",
        "RING_NAME": "ring",
        "RING_MOST": "3",
        "RING_LIFETIME": "0",
        "RING_SETTLE": "0",
        "RING_JOB": "a",
        "RING_MIGRATE": json.dumps(["python3", "-c", program]),
        "RING_VARIABLE": "FOLDER",
        "PATH": "/usr/bin:/bin",
    }
    server.shutdown()
    server.server_close()


def test_first_keys_are_made_once(api: Api, environ: dict[str, str]) -> None:
    assert script.main("create", environ) == 0
    first = api.keys()
    assert first.keys() == {"0", "1"}
    assert {len(base64.urlsafe_b64decode(key)) for key in first.values()} == {32}
    assert first["0"] != first["1"]
    assert script.main("create", {**environ, "RING_JOB": "b"}) == 0
    assert api.keys() == first


def test_keys_of_a_former_version_stay(api: Api, environ: dict[str, str]) -> None:
    key = base64.b64encode(script.fresh().encode()).decode()
    api.secret["data"] = {"0": key, "4": key, "3": key}
    before = api.keys()
    assert script.main("create", environ) == 0
    assert api.keys() == before
    assert script.main("rotate", environ) == 0
    assert api.keys().keys() == {"0", "5", "4"}


def test_a_rotation_makes_the_staged_key_the_primary(
    api: Api, environ: dict[str, str], tmp_path: Path
) -> None:
    script.main("create", environ)
    before = api.keys()
    assert script.main("rotate", {**environ, "RING_JOB": "b"}) == 0
    after = api.keys()
    assert after.keys() == {"0", "1", "2"}
    assert after["2"] == before["0"]
    assert after["1"] == before["1"]
    assert after["0"] not in before.values()
    # With the primary as it was, for what was encrypted late, and with the new one.
    assert (tmp_path / "migrated").read_text().splitlines() == [before["1"], after["2"]]


def test_a_job_rotates_once_however_often_it_is_tried(
    api: Api, environ: dict[str, str], tmp_path: Path
) -> None:
    script.main("create", environ)
    for _ in range(3):
        assert script.main("rotate", {**environ, "RING_JOB": "b"}) == 0
    assert api.keys().keys() == {"0", "1", "2"}
    # One that was interrupted after it had written the ring is finished by the next try.
    assert (tmp_path / "migrated").read_text().splitlines()[-1] == api.keys()["2"]


def test_it_does_not_rotate_faster_than_pods_learn_of_it(
    api: Api, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {**environ, "RING_SETTLE": "120"}
    script.main("create", environ)
    before = api.secret
    assert script.main("rotate", {**environ, "RING_JOB": "b"}) == 1
    assert api.secret == before
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["level"] == "ERROR"
    assert "not every pod may know" in last["message"]
    notes = api.secret["metadata"]["annotations"]
    notes[script.SINCE] = json.dumps({"1": int(time.time()) - 121})
    assert script.main("rotate", {**environ, "RING_JOB": "b"}) == 0


def test_of_two_at_once_one_rotates(api: Api, environ: dict[str, str]) -> None:
    script.main("create", environ)
    before = api.keys()
    api.meanwhile = api.touch
    with pytest.raises(urllib.error.HTTPError, match="409"):
        script.main("rotate", {**environ, "RING_JOB": "b"})
    assert api.keys() == before


def test_no_key_is_logged_or_left(
    api: Api, environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    script.main("create", environ)
    script.main("rotate", {**environ, "RING_JOB": "b"})
    out = capsys.readouterr().out
    assert out
    assert not [key for key in api.keys().values() if key in out]


@pytest.mark.parametrize(("lifetime", "most"), [(2 * DAY + 3600, 5), (DAY, 3), (DAY + 1, 4)])
def test_daily_rotations_keep_as_many_keys_as_keystone_is_told(lifetime: int, most: int) -> None:
    ring = script.Ring({"0": "a", "1": "b"}, {"1": 0})
    for day in range(1, 12):
        ring = ring.rotated(now=day * DAY, most=most, lifetime=lifetime)
        assert len(ring.keys) == min(day + 2, most)
        assert set(ring.since) == set(ring.keys) - {"0"}


def test_rotations_by_hand_end_no_token() -> None:
    """However many there are, the key of a token stays as long as the token may be read."""
    ring = script.Ring({"0": "a", "1": "b"}, {"1": 0})
    for turn in range(1, 11):
        ring = ring.rotated(now=turn * 130, most=3, lifetime=500)
        # The keys that were the primary within that time: 130 s each.
        assert {str(turn + 1 - back) for back in range(min(turn, 4) + 1)} <= ring.keys.keys()
    assert len(ring.keys) < 9


def test_a_ring_without_a_staged_key_is_not_rotated() -> None:
    with pytest.raises(ValueError, match="no staged key"):
        script.Ring({"1": "b"}, {}).rotated(now=0, most=3, lifetime=0)
