"""A user's day, from outside, through the gateway, by OpenStack's own client, from account to last image."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from deployment import Cloud

PATIENCE_SECONDS = 120

Client = Callable[..., subprocess.CompletedProcess[str]]


def client(cloud: Cloud, folder: Path, auth_type: str, auth: dict[str, str]) -> Client:
    """The client of somebody who logs in by ``auth``, with a configuration of their own."""
    entry: dict[str, Any] = yaml.safe_load(cloud.stack.workspace.clouds.read_text())["clouds"]["jarvis"]
    own = {**entry, "auth_type": auth_type, "auth": {"auth_url": entry["auth"]["auth_url"], **auth}}
    file = folder / f"{secrets.token_hex(4)}.yaml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump({"clouds": {"own": own}}))
    environment = {**cloud.stack.workspace.environment(), "OS_CLIENT_CONFIG_FILE": str(file)}

    def ask(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        run = subprocess.run(
            ["openstack", "--os-cloud", "own", *words],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert not check or run.returncode == 0, f"{' '.join(words)}: {run.stdout}{run.stderr}"
        return run

    return ask


def answer(ask: Client, *words: str) -> Any:
    return json.loads(ask(*words, "-f", "json").stdout)


def test_a_day_of_a_user(cloud: Cloud, tmp_path: Path) -> None:
    def admin(*words: str) -> Any:
        return json.loads(cloud.tool("openstack", "--os-cloud", "jarvis", *words, "-f", "json").stdout)

    def order(*words: str) -> None:
        cloud.tool("openstack", "--os-cloud", "jarvis", *words)

    password = secrets.token_urlsafe(18)
    project, other = (admin("project", "create", name)["id"] for name in ("day", "day-guests"))
    user = admin("user", "create", "--project", project, "--password", password, "day")["id"]
    names = {"username": "day", "password": password, "user_domain_id": "default"}
    own = client(cloud, tmp_path, "v3password", {**names, "project_id": project})
    guest = client(cloud, tmp_path, "v3password", {**names, "project_id": other})

    # Without a role there is no token, and with one the user is no administrator.
    assert own("token", "issue", check=False).returncode != 0
    for each in (project, other):
        order("role", "add", "--project", each, "--user", user, "member")
    assert answer(own, "token", "issue")["project_id"] == project
    assert "403" in own("user", "create", "another", check=False).stderr

    shown = answer(own, "application", "credential", "create", "--role", "member", "machine")
    # Releases of the client differ in how they write the names of the fields.
    made = {name.lower(): value for name, value in shown.items()}
    login = {"application_credential_id": made["id"], "application_credential_secret": made["secret"]}
    machine = client(cloud, tmp_path, "v3applicationcredential", login)

    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20))
    image = answer(
        machine, "image", "create", "--shared", "--disk-format", "raw", "--file", str(source), "day"
    )["id"]
    assert guest("image", "show", image, check=False).returncode != 0
    machine("image", "add", "project", image, other)
    guest("image", "set", "--accept", image)
    guest("image", "save", "--file", str(back), image)
    assert back.read_bytes() == source.read_bytes()
    assert guest("image", "delete", image, check=False).returncode != 0
    machine("image", "delete", image)
    assert own("image", "show", image, check=False).returncode != 0

    own("application", "credential", "delete", made["id"])
    assert machine("token", "issue", check=False).returncode != 0
    order("user", "delete", user)
    assert own("token", "issue", check=False).returncode != 0
    order("project", "delete", project, other)
