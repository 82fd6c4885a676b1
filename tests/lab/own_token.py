"""Is each request judged by the token that it carries, while others are served beside it?

``escalations`` asks for what Keystone must refuse each time, ``mixtures`` for what shows whose token was
looked at. Both make accounts of their own, work for a given time with several clients, and remove them.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

# Seconds that one answer may take: the machine is busy, and the answer counts.
PATIENCE_SECONDS = 60
# Between two changes of role assignments, each of which empties Keystone's cache of the computed ones.
CHANGE_SECONDS = 0.3
_DOMAIN = "default"

Answer = tuple[int, Message, Any]
Ask = Callable[[], str]


class Keystone:
    """Keystone at ``url`` (``/v3`` included), and its administrator, by a new connection for each request.

    ``tls``: what its certificate is verified with, where ``url`` is an https one.
    """

    def __init__(self, url: str, auth: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._base = parts.hostname or "", parts.port, parts.path
        self._tls = tls
        user = {"name": auth["username"], "domain": {"id": _DOMAIN}, "password": auth["password"]}
        scope = {"project": {"name": auth["project_name"], "domain": {"id": _DOMAIN}}}
        self.admin = self.log_in({"methods": ["password"], "password": {"user": user}}, scope)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        subject: str | None = None,
    ) -> Answer:
        """Status, headers and body of the answer. Raises ``OSError`` or ``HTTPException`` without one."""
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE_SECONDS)
            if self._tls is None
            else http.client.HTTPSConnection(
                self._host, self._port, timeout=PATIENCE_SECONDS, context=self._tls
            )
        )
        given = {"Content-Type": "application/json", "X-Auth-Token": token, "X-Subject-Token": subject}
        headers = {name: value for name, value in given.items() if value is not None}
        try:
            connection.request(method, self._base + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, answer.headers, json.loads(text) if text else None

    def order(self, expected: int, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """What is asked by the administrator, or with ``token``, and answered as ``expected``."""
        status, _, answer = self.ask(method, path, body, token=token or self.admin)
        assert status == expected, f"{method} {path}: {status} {answer}"
        return answer

    def log_in(self, identity: Mapping[str, Any], scope: Mapping[str, Any] | None = None) -> str:
        """A token."""
        auth = {"identity": identity, **({} if scope is None else {"scope": scope})}
        status, headers, answer = self.ask("POST", "/auth/tokens", {"auth": auth})
        assert status == 201, answer
        return headers["X-Subject-Token"]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What clients saw: the questions that were ``asked``, how many right answers there were to each, and all
    wrong ones."""

    asked: frozenset[str]
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _User:
    id: str
    token: str
    project: str = ""
    roles: Sequence[str] = ()


class _Accounts:
    """What is made, for as long as it is needed."""

    def __init__(self, keystone: Keystone, held: ExitStack) -> None:
        self._keystone, self._held = keystone, held
        self._tag = f"own-token-{uuid.uuid4().hex[:6]}"
        self.roles = {each["name"]: each["id"] for each in keystone.order(200, "GET", "/roles")["roles"]}

    def _make(self, kind: str, **fields: Any) -> str:
        made = self._keystone.order(201, "POST", f"/{kind}s", {kind: fields})[kind]["id"]
        self._held.callback(self._keystone.order, 204, "DELETE", f"/{kind}s/{made}")
        return str(made)

    def domain(self) -> str:
        """An empty domain, which goes with all that is in it at the end."""
        made = self._make("domain", name=self._tag)
        closed = {"domain": {"enabled": False}}
        self._held.callback(self._keystone.order, 200, "PATCH", f"/domains/{made}", closed)
        return made

    def user(self, name: str, role: str, *, manages: str | None = None) -> _User:
        """A user with one role: in a project of their own, or in the domain ``manages``, theirs then."""
        name, password = f"{self._tag}-{name}", secrets.token_hex(12)
        project = "" if manages else self._make("project", name=name, domain_id=_DOMAIN)
        user = self._make("user", name=name, domain_id=manages or _DOMAIN, password=password)
        place, where = ("domain", manages) if manages else ("project", project)
        self._keystone.order(204, "PUT", f"/{place}s/{where}/users/{user}/roles/{self.roles[role]}")
        identity = {"methods": ["password"], "password": {"user": {"id": user, "password": password}}}
        token = self._keystone.log_in(identity, {place: {"id": where}})
        _, _, shown = self._keystone.ask("GET", "/auth/tokens", token=token, subject=token)
        return _User(id=user, token=token, project=project, roles=_names(shown["token"]["roles"]))

    def restricted(self, user: _User) -> str:
        """The token of an application credential of ``user`` that may make no other one."""
        path, body = f"/users/{user.id}/application_credentials", {"name": self._tag}
        made = self._keystone.order(201, "POST", path, {"application_credential": body}, user.token)
        key = {name: made["application_credential"][name] for name in ("id", "secret")}
        return self._keystone.log_in({"methods": ["application_credential"], "application_credential": key})


def _names(roles: Sequence[Mapping[str, str]]) -> list[str]:
    return sorted(role["name"] for role in roles)


@contextmanager
def _accounts(keystone: Keystone) -> Iterator[_Accounts]:
    with ExitStack() as held:
        yield _Accounts(keystone, held)


def escalations(keystone: Keystone, seconds: float) -> Found:
    """Three requests that are beyond their token, for ``seconds``, beside others that are not."""

    def status(expected: int, *words: Any, **given: Any) -> Ask:
        def ask() -> str:
            got, _, body = keystone.ask(*words, **given)
            return "" if got == expected else f"{got}, which is not {expected}: {json.dumps(body)[:300]}"

        return ask

    def credential() -> dict[str, Any]:
        return {"application_credential": {"name": uuid.uuid4().hex}}

    with _accounts(keystone) as accounts:
        domain = accounts.domain()
        member, manager = accounts.user("member", "member"), accounts.user("manager", "manager")
        head = accounts.user("head", "manager", manages=domain)
        restricted = accounts.restricted(member)
        theirs = f"/users/{member.id}/application_credentials"
        return _side_by_side(
            {
                "a restricted application credential makes another one": lambda: status(
                    403, "POST", theirs, credential(), token=restricted
                )(),
                "the manager of a project makes a user in a domain that is not theirs": lambda: status(
                    403,
                    "POST",
                    "/users",
                    {"user": {"name": uuid.uuid4().hex, "domain_id": domain}},
                    token=manager.token,
                )(),
                "a member lists all users": status(403, "GET", "/users", token=member.token),
                "the manager of a domain has their token checked": status(
                    200, "GET", "/auth/tokens", token=head.token, subject=head.token
                ),
                "the manager of a domain lists its users": status(
                    200, "GET", f"/users?domain_id={domain}", token=head.token
                ),
                "a member lists their own credentials": status(200, "GET", theirs, token=member.token),
            },
            seconds,
        )


def mixtures(keystone: Keystone, seconds: float) -> Found:
    """Tokens that are checked, and credentials that are made, for ``seconds``, while role assignments change.

    Each must show the roles of who asks, and of nobody else.
    """

    def shows_its_own(user: _User) -> Ask:
        def ask() -> str:
            got, _, body = keystone.ask("GET", "/auth/tokens", token=user.token, subject=user.token)
            if got != 200:
                return f"{got}, which is not 200: {json.dumps(body)[:300]}"
            shown = body["token"]
            same = (shown["user"]["id"], shown["project"]["id"], _names(shown["roles"]))
            return "" if same == (user.id, user.project, user.roles) else f"shows {same}"

        return ask

    def has_own_roles(user: _User) -> Ask:
        def ask() -> str:
            path = f"/users/{user.id}/application_credentials"
            body = {"application_credential": {"name": uuid.uuid4().hex}}
            got, _, made = keystone.ask("POST", path, body, token=user.token)
            if got != 201:
                return f"{got}, which is not 201: {json.dumps(made)[:300]}"
            # It goes with its user.
            roles = _names(made["application_credential"]["roles"])
            return "" if roles == user.roles else f"has the roles {roles}"

        return ask

    with _accounts(keystone) as accounts:
        member, service, reader, other = (
            accounts.user(role, role) for role in ("member", "service", "reader", "admin")
        )
        path = f"/projects/{other.project}/users/{other.id}/roles/{accounts.roles['reader']}"

        def change() -> str:
            for method in ("PUT", "DELETE"):
                keystone.order(204, method, path)
            time.sleep(CHANGE_SECONDS)
            return ""

        return _side_by_side(
            {
                "a token of the role service is checked": shows_its_own(service),
                "a token of the role reader is checked": shows_its_own(reader),
                "a token of the role member is checked": shows_its_own(member),
                "a member makes a credential": has_own_roles(member),
                "a reader makes a credential": has_own_roles(reader),
                "a role is given and taken": change,
            },
            seconds,
        )


def _side_by_side(questions: Mapping[str, Ask], seconds: float) -> Found:
    """Each question by a client of its own, one after the other, until ``seconds`` have passed."""
    found, lock = Found(asked=frozenset(questions)), threading.Lock()
    end = time.monotonic() + seconds

    def client(what: str, ask: Ask) -> None:
        while time.monotonic() < end:
            try:
                problem = ask()
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            with lock:
                if problem:
                    found.wrong.append(f"{what}: {problem}")
                else:
                    found.right[what] += 1

    clients = [threading.Thread(target=client, args=pair, daemon=True) for pair in questions.items()]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return found
