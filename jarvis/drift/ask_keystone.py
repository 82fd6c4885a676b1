"""Asks Keystone for what Jarvis registered in it. Runs on a server, with the standard library alone.

The program reads one line of JSON and prints one. It logs in and reads; it makes and changes nothing.

The question has

- ``url``: of Keystone's API, including ``/v3``
- ``authority``: the certificates to trust, in PEM
- ``seconds``: how long a request may take
- ``admin``: the user who reads, with ``user``, ``password`` and ``project``
- ``logins``: users whose login is tried, in the same form
- ``paths``: the paths of the API to read
- ``users``: names of the users whose roles are read

The answer has

- ``admin``: the scope whose login succeeded, ``project`` or ``system``; or ``refused``
- ``tokens``: what the tokens say, by user whose login succeeded
- ``answers``: by path
- ``assignments``: of roles, by user

Where Keystone does not answer, it has ``error`` alone. With ``refused`` it has no ``answers`` and no
``assignments``.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Json = dict[str, Any]
_DOMAIN = {"id": "default"}
# How long a token that Keystone gives may still be refused by a revocation of before it.
_REVOKED_SECONDS = 1.0


class Keystone:
    """Keystone's API, as one user sees it.

    Args:
        url: of the API.
        authority: the certificates to trust, in PEM; unused where the URL is of http.
        seconds: how long a request may take.

    Attributes:
        token: the user's; ``None`` before the login.
        says: what the token says; empty before the login.
    """

    def __init__(self, url: str, authority: str, seconds: float) -> None:
        self.url, self.seconds = url.rstrip("/"), seconds
        self.says: Json = {}
        # The proxy that a server is configured with is not for its own cloud.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https:"):
            trusted = ssl.create_default_context(cadata=authority)
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        self.open = urllib.request.build_opener(*handlers).open
        self.token: str | None = None

    def call(self, path: str, body: Json | None = None) -> tuple[Json, Any]:
        """Sends one request: a POST of ``body``, or a GET where there is none.

        Returns:
            The body of the answer, and its headers.

        Raises:
            OSError: no answer; an ``HTTPError`` where the answer is an error.
            ValueError: the answer is no JSON.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["X-Auth-Token"] = self.token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with self.open(request, timeout=self.seconds) as answer:
            return dict(json.loads(answer.read())), answer.headers

    def get(self, path: str) -> Json:
        """Reads ``path``; raises what ``call`` does."""
        return self.call(path)[0]

    def let_in(self, user: str, password: str, scope: Json) -> bool:
        """Logs in.

        Args:
            user: name of the user, in the default domain.
            password: of the user.
            scope: of the token, as Keystone's API has it.

        Returns:
            Whether Keystone gives a token.

        Raises:
            OSError: no answer, or an error other than 401.
        """
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
        """Logs a user in for their project; whether Keystone gives a token."""
        scope = {"project": {"name": login["project"], "domain": _DOMAIN}}
        return self.let_in(login["user"], login["password"], scope)


def ask(asked: Json) -> Json:
    """Answers the question ``asked``; the module has the form of both.

    Raises:
        OSError: Keystone does not answer, or answers with an error.
        ValueError: its answer is no JSON.
        KeyError: its answer, or the question, lacks something.
        TypeError: its answer has another form than Keystone's.
    """
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


def _ask_twice(asked: Json) -> Json:
    """As ``ask``, once more where a token is refused that Keystone has just given.

    Keystone notes the second at which it revoked a user's tokens, and refuses those of that same second too.
    """
    try:
        return ask(asked)
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
    time.sleep(_REVOKED_SECONDS)
    return ask(asked)


def main() -> int:
    """Runs the program; returns 0, since an error is an answer as well."""
    try:
        said = _ask_twice(json.loads(sys.stdin.readline()))
    except urllib.error.HTTPError as error:
        path = urllib.parse.urlsplit(error.url or "").path
        said = {"error": f"{path}: {error.code} {error.reason}"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Also an answer that is no JSON, or not Keystone's: a gateway's page.
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
