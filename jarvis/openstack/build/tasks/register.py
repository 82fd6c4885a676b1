"""Makes a service known to Keystone: its account, its entry in the catalogue and its endpoints.

Runs in a Job, by the environment alone and with the standard library alone; safe to run any number of times.
It puts right what somebody changed of these (``jarvis/drift/registered.py`` says in a preview what that is).

OS_AUTH_URL OS_CACERT OS_USERNAME OS_PASSWORD OS_PROJECT_NAME the administrator
REGISTER_NAME REGISTER_TYPE REGISTER_URL REGISTER_REGION      the service, as users see it
REGISTER_PROJECT                                              where its account is
REGISTER_ACCOUNT REGISTER_PASSWORD REGISTER_ROLE              that; Keystone itself has none
REGISTER_LIMITS                                               most of a project: JSON, by name
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

    def authenticate(self, user: str, password: str, project: str | None) -> str:
        """A token of ``user`` for ``project``, both of the default domain; without one, for the system."""
        domain = {"id": _DOMAIN}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        scope: Json = (
            {"project": {"name": project, "domain": domain}} if project else {"system": {"all": True}}
        )
        body = {"auth": {"identity": identity, "scope": scope}}
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
    name, region = environment["REGISTER_NAME"], environment["REGISTER_REGION"]
    limits: dict[str, int] = json.loads(environment.get("REGISTER_LIMITS") or "{}")
    project = keystone.ensure("projects", {}, name=environment["REGISTER_PROJECT"], domain_id=_DOMAIN)
    mend(keystone, "projects", project, enabled=True)
    if environment.get("REGISTER_ACCOUNT"):
        ensure_account(keystone, environment, project)
    service = ensure_service(keystone, environment)
    for interface in ("public", "internal", "admin"):
        ensure_endpoint(
            keystone,
            environment["REGISTER_URL"],
            service_id=service["id"],
            interface=interface,
            region_id=region,
        )
    for limit, most in sorted(limits.items()):
        ensure_limit(keystone, limit, most, service_id=service["id"], region_id=region)
    say("INFO", f"{name} is registered")


def mend(keystone: Keystone, kind: str, item: Json, **fields: Any) -> None:
    """Gives ``item`` of ``kind`` those ``fields`` that it has otherwise."""
    wrong = {field: right for field, right in fields.items() if item.get(field, right) != right}
    if wrong:
        one = kind.removesuffix("s")
        keystone.call("PATCH", f"/{kind}/{item['id']}", {one: wrong})
        say("INFO", f"mended {one} {item.get('name', item['id'])}: {json.dumps(wrong)}")


def ensure_account(keystone: Keystone, environment: Any, project: Json) -> None:
    """The service's user, its role on ``project``, and its password."""
    account, password = environment["REGISTER_ACCOUNT"], environment["REGISTER_PASSWORD"]
    user = keystone.ensure("users", {"password": password}, name=account, domain_id=_DOMAIN)
    mend(keystone, "users", user, enabled=True)
    role = keystone.ensure("roles", {}, name=environment["REGISTER_ROLE"])
    keystone.call("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}")
    try:
        Keystone(keystone.url, keystone.cacert).authenticate(
            account, password, environment["REGISTER_PROJECT"]
        )
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        keystone.call("PATCH", f"/users/{user['id']}", {"user": {"password": password}})
        say("INFO", f"gave the account {account} its new password")


def ensure_service(keystone: Keystone, environment: Any) -> Json:
    """The service, by name and type; or by one of them and an endpoint of ours, since somebody may have
    changed the other. Operators may have services of the same type."""
    name, kind = environment["REGISTER_NAME"], environment["REGISTER_TYPE"]
    endpoints = keystone.find("endpoints", region_id=environment["REGISTER_REGION"])
    ours = {one["service_id"] for one in endpoints if one["url"] == environment["REGISTER_URL"]}
    found = keystone.find("services", name=name, type=kind)
    found = [one for one in found if one["id"] in ours] or found
    if not found:
        near = [*keystone.find("services", type=kind), *keystone.find("services", name=name)]
        found = [one for one in near if one["id"] in ours]
    if not found:
        return keystone.ensure("services", {"enabled": True}, name=name, type=kind)
    mend(keystone, "services", found[0], name=name, type=kind, enabled=True)
    return found[0]


def ensure_endpoint(keystone: Keystone, url: str, **where: str) -> None:
    """The endpoint ``where`` the service has one for everybody. Of several it is the one with the ``url``."""
    found = keystone.find("endpoints", **where)
    if not found:
        keystone.ensure("endpoints", {"url": url, "enabled": True}, **where)
        return
    ours = max(found, key=lambda one: (one["url"] == url, one.get("enabled", True)))
    mend(keystone, "endpoints", ours, url=url, enabled=True)


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


def login(keystone: Keystone, environment: Any) -> str:
    """A token of the administrator; for the system where their project lets nobody in, such as a disabled
    one."""
    user, password = environment["OS_USERNAME"], environment["OS_PASSWORD"]
    try:
        return keystone.authenticate(user, password, environment["OS_PROJECT_NAME"])
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
    return keystone.authenticate(user, password, None)


def main() -> int:
    """0 when all is as it should be; 1 and one line of why, after which the Job tries again."""
    environment = os.environ
    keystone = Keystone(environment["OS_AUTH_URL"], environment.get("OS_CACERT"))
    try:
        keystone.token = login(keystone, environment)
        register(keystone, environment)
    except urllib.error.HTTPError as error:
        say("ERROR", f"{error.url}: {error.code} {error.read(500).decode(errors='replace')}")
        return 1
    except OSError as error:
        say("ERROR", f"{keystone.url}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
