"""Keystone's keys rotate while users go on."""

from __future__ import annotations

import json
from typing import Any

from deployment import Cloud, wait_until
from tokens import TokenLoop

NAMESPACE = "openstack"
# The second rotation of two waits until each pod must know of the first: two minutes, tried again ever later.
PATIENCE_SECONDS = 420
SINCE = "jarvis.internal/primary-since"


def _secret(cloud: Cloud, name: str) -> dict[str, Any]:
    return dict(json.loads(cloud.kubectl("get", "secret", "-n", NAMESPACE, name, "-o", "json")))


def _keys(cloud: Cloud, name: str) -> dict[str, str]:
    return dict(_secret(cloud, f"{name}-keys")["data"])


def _rotate(cloud: Cloud, name: str, job: str) -> None:
    """As an operator does it."""
    cloud.kubectl("create", "job", "-n", NAMESPACE, job, f"--from=cronjob/{name}")


def _done(cloud: Cloud, job: str) -> bool:
    status = json.loads(cloud.kubectl("get", "job", "-n", NAMESPACE, job, "-o", "json"))["status"]
    assert not [one for one in status.get("conditions", []) if one["type"] == "Failed"], status
    return bool(status.get("succeeded"))


def _count(keys: dict[str, str]) -> int:
    return max(map(int, keys))


def test_keys_rotate_and_no_request_fails(cloud: Cloud) -> None:
    """Two rotations of the keys of tokens, asked for at once; those of credentials meanwhile."""
    fernet, credential = "keystone-fernet", "keystone-credential"
    access = cloud.stack.workspace
    user = cloud.tool(
        "openstack", "--os-cloud", "jarvis", "credential", "create", "admin", "kept", "-f", "json"
    )
    kept = json.loads(user.stdout)["id"]
    before = {name: _keys(cloud, name) for name in (fernet, credential)}
    jobs = ["rotate-first", "rotate-second", "rotate-credential"]
    try:
        with TokenLoop(access.clouds, cloud.authority, validate=True) as loop:
            wait_until("the first token", lambda: loop.answers, PATIENCE_SECONDS)
            _rotate(cloud, fernet, jobs[0])
            wait_until("a rotation", lambda: _done(cloud, jobs[0]), PATIENCE_SECONDS)
            first = _keys(cloud, fernet)
            # It is refused, and comes by itself when it may.
            _rotate(cloud, fernet, jobs[1])
            _rotate(cloud, credential, jobs[2])
            wait_until("credentials are encrypted anew", lambda: _done(cloud, jobs[2]), PATIENCE_SECONDS)
            shown = cloud.tool("openstack", "--os-cloud", "jarvis", "credential", "show", kept, "-f", "json")
            assert json.loads(shown.stdout)["blob"] == "kept"
            wait_until("the second rotation", lambda: _done(cloud, jobs[1]), PATIENCE_SECONDS)
            moment = loop.answers[-1][0]
            wait_until("tokens after it", lambda: loop.tokens_since(moment) > 10, PATIENCE_SECONDS)
        assert loop.problems() == []
        cloud.stack.say(
            f"{len(loop.answers)} tokens issued and validated, longest gap {loop.longest_gap():.1f} s"
        )
    finally:
        cloud.kubectl("delete", "job", "-n", NAMESPACE, "--ignore-not-found", *jobs)
        cloud.tool("openstack", "--os-cloud", "jarvis", "credential", "delete", kept)
    then = _keys(cloud, fernet)
    primary = _count(before[fernet])
    assert (_count(first), _count(then)) == (primary + 1, primary + 2)
    assert first[str(primary + 1)] == before[fernet]["0"]
    assert then[str(primary + 2)] == first["0"]
    # Tokens that were encrypted with it may be read for two days more.
    assert then[str(primary)] == before[fernet][str(primary)]
    since = json.loads(_secret(cloud, f"{fernet}-keys")["metadata"]["annotations"][SINCE])
    assert since[str(primary + 2)] - since[str(primary + 1)] >= 120
    assert _keys(cloud, credential)[str(_count(before[credential]) + 1)] == before[credential]["0"]
