"""Asks Keystone for what Jarvis registered in it. Runs on a server, with the standard library alone.

It reads one line of JSON, and prints one. It makes and changes nothing: it logs in, and reads.

url, authority, seconds   of Keystone's API (/v3 included), the certificates to trust, and to wait
admin                     who reads: user, password, project
logins                    who else is tried: user, password, project
paths                     what is read
users                     those of whom the roles are read, by name

It prints ``admin``: "project" or "system", whichever let the administrator in, or "refused"; ``tokens``: by
user who was let in what their token says; ``answers``: by path; ``assignments``: by user. Or ``error`` where
Keystone does not answer.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Json = dict[str, Any]
_DOMAIN = {"id": "default"}


class Keystone:
    """The API at ``url``, for one user. ``token``: theirs, once there is one. ``says``: what that says."""

    def __init__(self, url: str, authority: str, seconds: float) -> None:
        self.url, self.seconds = url.rstrip("/"), seconds
        self.says: Json = {}
        # A proxy of the server's own is not on the way.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            trusted = ssl.create_default_context(cadata=authority)
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        self.open = urllib.request.build_opener(*handlers).open
        self.token: str | None = None

    def call(self, path: str, body: Json | None = None) -> tuple[Json, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["X-Auth-Token"] = self.token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with self.open(request, timeout=self.seconds) as answer:
            return dict(json.loads(answer.read())), answer.headers

    def get(self, path: str) -> Json:
        return self.call(path)[0]

    def let_in(self, user: str, password: str, scope: Json) -> bool:
        """Gets a token; whether Keystone gives one."""
        who = {"user": {"name": user, "domain": _DOMAIN, "password": password}}
        auth = {"identity": {"methods": ["password"], "password": who}, "scope": scope}
        try:
            body, headers = self.call("/auth/tokens", {"auth": auth})
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            return False
        self.token, self.says = str(headers["X-Subject-Token"]), body["token"]
        return True

    def of_project(self, login: Json) -> bool:
        scope = {"project": {"name": login["project"], "domain": _DOMAIN}}
        return self.let_in(login["user"], login["password"], scope)


def ask(asked: Json) -> Json:
    """The answers to what is ``asked``; both as described above."""
    admin = asked["admin"]

    def keystone() -> Keystone:
        return Keystone(asked["url"], asked["authority"], asked["seconds"])

    with ThreadPoolExecutor(16) as pool:
        tried = {login["user"]: keystone() for login in asked["logins"]}
        let_in = [pool.submit(tried[login["user"]].of_project, login) for login in asked["logins"]]
        own, by = keystone(), "project"
        if not own.of_project(admin):
            by = "system"
            if not own.let_in(admin["user"], admin["password"], {"system": {"all": True}}):
                by = "refused"
        tokens = {
            user: one.says for (user, one), done in zip(tried.items(), let_in, strict=True) if done.result()
        }
        if by == "refused":
            return {"admin": by, "tokens": tokens}
        tokens[admin["user"]] = own.says
        answers = dict(zip(asked["paths"], pool.map(own.get, asked["paths"]), strict=True))
        found = {
            user["name"]: user["id"]
            for user in (
                *(token["user"] for token in tokens.values()),
                *(user for answer in answers.values() for user in answer.get("users", ())),
            )
            if user["name"] in asked["users"]
        }
        roles = pool.map(lambda one: own.get(f"/role_assignments?user.id={one}"), found.values())
        assignments = {name: answer["role_assignments"] for name, answer in zip(found, roles, strict=True)}
    return {"admin": by, "tokens": tokens, "answers": answers, "assignments": assignments}


def main() -> int:
    try:
        said = ask(json.loads(sys.stdin.readline()))
    except urllib.error.HTTPError as error:
        path = urllib.parse.urlsplit(error.url or "").path
        said = {"error": f"{path}: {error.code} {error.reason}"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Also what is no JSON, or not that of Keystone: a gateway's page.
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
