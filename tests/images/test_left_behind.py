"""No request leaves anything on an object that requests share: only then may a process have threads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.images.test_built import PATIENCE_SECONDS, Unpacked, glance_of_files, unpack

PROGRAM = Path(__file__).with_name("left_behind.py")
# Words that are nowhere else in a service.
USERS = ("ottokar", "zebulon")
LAST = USERS[-1]


def left(image: Unpacked, environment: dict[str, str], given: dict[str, Any]) -> list[str]:
    """Where in the service what is marked is found after its requests, all of which succeed."""
    command, variables = image.words("python3", "-c", PROGRAM.read_text(), **environment)
    done = subprocess.run(
        command,
        env=variables,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert all(200 <= status < 300 for _, _, status in result["answers"]), result["answers"]
    return list(result["left"])


def keystone_requests() -> list[dict[str, Any] | None]:
    """Two users, one after the other, who log in and look at themselves."""

    def log_in(name: str, user: dict[str, Any]) -> dict[str, Any]:
        identity = {"methods": ["password"], "password": {"user": user}}
        auth = {"identity": identity, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}
        body = {"auth": auth if user.get("name") else {"identity": identity}}
        return {"method": "POST", "path": "/v3/auth/tokens", "headers": {}, "body": body, "token": name}

    admin = log_in("admin", {"name": "admin", "domain": {"id": "default"}, "password": "abc"})
    requests: list[dict[str, Any] | None] = [admin]
    for name in USERS:
        user = {"name": name, "password": "abc", "domain_id": "default"}
        make = {"method": "POST", "path": "/v3/users", "headers": {"X-Auth-Token": "@admin@"}}
        requests.append({**make, "body": {"user": user}, "id": [f"{name}-id", "user", "id"]})
    for name in USERS:
        own = {"X-Auth-Token": f"@{name}@", "X-Subject-Token": f"@{name}@"}
        requests += [
            log_in(name, {"id": f"@{name}-id@", "password": "abc"}),
            {"method": "GET", "path": "/v3/auth/tokens", "headers": own},
            {"method": "GET", "path": f"/v3/users/@{name}-id@", "headers": own},
        ]
        if name != LAST:
            requests.append(None)
    return requests


def test_keystone_leaves_the_token_which_is_why_it_has_no_threads(tmp_path: Path) -> None:
    """Once this fails, look at decision 029 again."""
    tmp_path.chmod(0o755)
    image = unpack("keystone", tmp_path)
    for folder in ("volume/keys", "volume/data"):
        image.writable(folder)
    environment = {
        "OS_DATABASE__CONNECTION": "sqlite:////volume/data/keystone.db",
        "OS_FERNET_TOKENS__KEY_REPOSITORY": "/volume/keys",
        "OS_FERNET_RECEIPTS__KEY_REPOSITORY": "/volume/keys",
        "OS_CREDENTIAL__KEY_REPOSITORY": "/volume/keys",
    }
    for words in (["db_sync"], ["fernet_setup"]):
        image.run("keystone-manage", *words, **environment)
    image.run("keystone-manage", "bootstrap", **environment, OS_BOOTSTRAP_PASSWORD="abc")
    given = {
        "module": "keystone.wsgi.api",
        "requests": keystone_requests(),
        "marks": [LAST, f"{LAST}-id"],
    }
    found = left(image, environment, given)
    assert found == [
        "keystone.server.flask.request_processing.middleware.auth_context.AuthContextMiddleware.token"
    ]


def glance_token(user: str) -> dict[str, Any]:
    """What Keystone says of a token of ``user``, an administrator of a project of their own."""
    domain = {"id": "default", "name": "Default"}
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": f"{user}-user-id", "name": f"{user}-name", "domain": domain},
            "project": {"id": f"{user}-project-id", "name": f"{user}-project", "domain": domain},
            "roles": [{"id": "1", "name": "admin"}, {"id": "2", "name": "member"}],
            "catalog": [],
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2126-01-01T00:00:00.000000Z",
        }
    }


def glance_requests() -> list[dict[str, Any] | None]:
    """Two users, one after the other, who do with an image what can be done with it."""
    requests: list[dict[str, Any] | None] = []
    for user in USERS:
        headers = {"X-Auth-Token": f"{user}-token"}
        image, data = f"/v2/images/@{user}@", "application/octet-stream"
        space = f"/v2/metadefs/namespaces/{user}-space"
        patch = "application/openstack-images-v2.1-json-patch"
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/healthcheck", {}),
            (
                "POST",
                "/v2/images",
                {
                    "body": {
                        "name": f"{user}-image",
                        "disk_format": "raw",
                        "container_format": "bare",
                        "visibility": "shared",
                        f"{user}-key": f"{user}-value",
                    },
                    "id": [user, "id"],
                },
            ),
            ("PUT", f"{image}/file", {"body": f"{user}-data" * 100, "type": data}),
            ("GET", image, {}),
            ("GET", f"{image}/file", {}),
            ("GET", f"/v2/images?name={user}-image", {}),
            (
                "PATCH",
                image,
                {"body": [{"op": "replace", "path": "/name", "value": f"{user}-new"}], "type": patch},
            ),
            ("PUT", f"{image}/tags/{user}-tag", {}),
            ("POST", f"{image}/members", {"body": {"member": f"{user}-guest"}}),
            ("GET", f"{image}/members", {}),
            ("POST", f"{image}/actions/deactivate", {"body": ""}),
            ("POST", f"{image}/actions/reactivate", {"body": ""}),
            ("POST", "/v2/metadefs/namespaces", {"body": {"namespace": f"{user}-space"}}),
            ("GET", space, {}),
            ("DELETE", space, {}),
            ("GET", "/v2/schemas/image", {}),
            ("GET", "/v2/info/stores", {}),
            ("GET", "/v2/tasks", {}),
            ("DELETE", image, {}),
        ]
        requests += [{"method": how, "path": path, "headers": headers, **more} for how, path, more in asked]
        if user != LAST:
            requests.append(None)
    return requests


def test_glance_leaves_nothing_but_what_keystone_said_of_a_token(tmp_path: Path) -> None:
    """By the token's digest: who has another token does not find it."""
    tmp_path.chmod(0o755)
    image = unpack("glance", tmp_path)
    environment = glance_of_files(image)
    image.run("glance-manage", "db", "sync", **environment)
    given = {
        "module": "glance.wsgi.api",
        "requests": glance_requests(),
        # The id of the image, and all that has its owner's name in it.
        "marks": [LAST, f"{LAST}-"],
        "tokens": {f"{user}-token": glance_token(user) for user in USERS},
    }
    found = left(image, environment, given)
    assert found == ["keystonemiddleware.auth_token._cache._FakeClient.cache"]
