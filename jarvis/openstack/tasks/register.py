"""Makes a service known to Keystone: its account, its entry in the catalogue and its endpoints.

Runs in a Job, by the environment alone and with the standard library alone; safe to run any number of times.

OS_AUTH_URL OS_CACERT OS_USERNAME OS_PASSWORD OS_PROJECT_NAME     the administrator
REGISTER_NAME REGISTER_TYPE REGISTER_URL REGISTER_REGION          the service, as users see it
REGISTER_ACCOUNT REGISTER_PASSWORD REGISTER_PROJECT REGISTER_ROLE its account
REGISTER_LIMITS                                                   most of a project: JSON, by name
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

Json = dict[str, Any]
_DOMAIN = "default"
_TIMEOUT = 60


def say(level: str, message: str) -> None:
    print(json.dumps({"level": level, "service": "register", "message": message}), flush=True)


class Keystone:
    """The API of Keystone at ``url`` (``/v3`` included), trusted by the authority in the file ``cacert``."""

    def __init__(self, url: str, cacert: str | None) -> None:
        self.url = url.rstrip("/")
        self.cacert = cacert
        self.context = ssl.create_default_context(cafile=cacert) if url.startswith("https:") else None
        self.token: str | None = None

    def call(self, method: str, path: str, body: Json | None = None) -> tuple[Json, Any]:
        """The answer's body and headers. Raises ``urllib.error.HTTPError`` for 400 and above."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token:
            headers["X-Auth-Token"] = self.token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self.context) as answer:
            text = answer.read()
            return (json.loads(text) if text else {}), answer.headers

    def authenticate(self, user: str, password: str, project: str) -> str:
        """A token of ``user`` for ``project``, both of the default domain."""
        domain = {"id": _DOMAIN}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        body = {"auth": {"identity": identity, "scope": {"project": {"name": project, "domain": domain}}}}
        _, headers = self.call("POST", "/auth/tokens", body)
        return str(headers["X-Subject-Token"])

    def find(self, kind: str, **query: str) -> list[Json]:
        """The items of ``kind`` (such as ``users``) that the ``query`` names."""
        answer, _ = self.call("GET", f"/{kind}?{urllib.parse.urlencode(query)}")
        return list(answer[kind])

    def ensure(self, kind: str, body: Json, **query: str) -> Json:
        """The one item of ``kind`` that the ``query`` names, made of ``body`` and the query where missing."""
        found = self.find(kind, **query)
        if not found:
            one = kind.removesuffix("s")
            try:
                answer, _ = self.call("POST", f"/{kind}", {one: {**query, **body}})
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                # Another service's Job made it in the meantime.
                return self.find(kind, **query)[0]
            say("INFO", f"made {one} {' '.join(query.values())}")
            return dict(answer[one])
        return found[0]


def register(keystone: Keystone, environment: Any) -> None:
    """Does all of it. ``environment``: as described above."""
    name, account = environment["REGISTER_NAME"], environment["REGISTER_ACCOUNT"]
    password, region = environment["REGISTER_PASSWORD"], environment["REGISTER_REGION"]
    limits: dict[str, int] = json.loads(environment.get("REGISTER_LIMITS") or "{}")
    project_name = environment["REGISTER_PROJECT"]
    project = keystone.ensure("projects", {}, name=project_name, domain_id=_DOMAIN)
    user = keystone.ensure("users", {"password": password}, name=account, domain_id=_DOMAIN)
    role = keystone.find("roles", name=environment["REGISTER_ROLE"])[0]
    keystone.call("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}")
    try:
        Keystone(keystone.url, keystone.cacert).authenticate(account, password, project_name)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        keystone.call("PATCH", f"/users/{user['id']}", {"user": {"password": password, "enabled": True}})
        say("INFO", f"gave the account {account} its new password")
    service = keystone.ensure("services", {"enabled": True}, name=name, type=environment["REGISTER_TYPE"])
    url = environment["REGISTER_URL"]
    for interface in ("public", "internal", "admin"):
        endpoint = keystone.ensure(
            "endpoints",
            {"url": url, "enabled": True},
            service_id=service["id"],
            interface=interface,
            region_id=region,
        )
        if endpoint["url"] != url:
            keystone.call("PATCH", f"/endpoints/{endpoint['id']}", {"endpoint": {"url": url}})
            say("INFO", f"moved the {interface} endpoint of {name} to {url}")
    for limit, most in sorted(limits.items()):
        ensure_limit(keystone, limit, most, service_id=service["id"], region_id=region)


def ensure_limit(keystone: Keystone, name: str, most: int, **where: str) -> None:
    """Every project may have ``most`` of ``name``, but where it was given a limit of its own."""
    found = keystone.find("registered_limits", resource_name=name, **where)
    if not found:
        made = {"resource_name": name, "default_limit": most, **where}
        keystone.call("POST", "/registered_limits", {"registered_limits": [made]})
        say("INFO", f"made the limit {name}: {most}")
    elif found[0]["default_limit"] != most:
        changed = {"registered_limit": {"default_limit": most}}
        keystone.call("PATCH", f"/registered_limits/{found[0]['id']}", changed)
        say("INFO", f"changed the limit {name} to {most}")


def main() -> int:
    """0 when all is as it should be; 1 and one line of why, after which the Job tries again."""
    environment = os.environ
    keystone = Keystone(environment["OS_AUTH_URL"], environment.get("OS_CACERT"))
    try:
        keystone.token = keystone.authenticate(
            environment["OS_USERNAME"], environment["OS_PASSWORD"], environment["OS_PROJECT_NAME"]
        )
        register(keystone, environment)
    except urllib.error.HTTPError as error:
        say("ERROR", f"{error.url}: {error.code} {error.read(500).decode(errors='replace')}")
        return 1
    except OSError as error:
        say("ERROR", f"{keystone.url}: {error}")
        return 1
    say("INFO", f"{environment['REGISTER_NAME']} is registered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
