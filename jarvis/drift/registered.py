"""What Jarvis has registered in Keystone against what Keystone answers, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

# The domain of all that Jarvis makes, by id.
DOMAIN = "default"
INTERFACES = ("public", "internal", "admin")
# What ``keystone-manage bootstrap`` makes.
ROLES = ("reader", "member", "manager", "admin", "service")

Item = Mapping[str, Any]


class UnreadableError(ValueError):
    """An answer of Keystone from which nothing can be told."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the domain ``DOMAIN``, who has the ``role`` on the ``project``."""

    user: str
    password: str = field(repr=False)
    project: str
    role: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A service as it was registered.

    - ``resource``: the Job that registers it.
    - ``name``, ``kind``, ``url``: of the catalogue: its name and type, and the URL of its three endpoints.
    - ``project``: where its account is. ``account``: its own, where it has one.
    - ``limits``: what each project may have of it at most, by name.
    """

    resource: str
    name: str
    kind: str
    url: str
    project: str
    account: Account | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """All that a finished ``up`` has registered.

    - ``url``: of Keystone's API. ``authority``: certificates to trust, in PEM. ``region``: of all endpoints.
    - ``resource``: the Job that makes the administrator, who is ``admin``.
    - ``entries``: one a service.
    """

    url: str
    authority: str
    region: str
    resource: str
    admin: Account
    entries: Sequence[Entry]

    @property
    def resources(self) -> list[str]:
        """Each resource that something can be found of."""
        return [self.resource, *(entry.resource for entry in self.entries)]

    @property
    def accounts(self) -> list[Account]:
        """Those of the services."""
        return [entry.account for entry in self.entries if entry.account is not None]


def read_registered(record: Mapping[str, Any]) -> Registered | None:
    """What the last finished ``up`` wrote into ``record``; ``None`` where an earlier Jarvis did."""
    one = record.get("registered")
    if not one:
        return None
    return Registered(
        url=str(one["url"]),
        authority=str(one["authority"]),
        region=str(one["region"]),
        resource=str(one["resource"]),
        admin=_account(one["admin"]),
        entries=[
            Entry(
                resource=str(entry["resource"]),
                name=str(entry["name"]),
                kind=str(entry["kind"]),
                url=str(entry["url"]),
                project=str(entry["project"]),
                account=_account(entry["account"]) if entry.get("account") else None,
                # Numbers of the engine have a fraction.
                limits={str(name): int(most) for name, most in (entry.get("limits") or {}).items()},
            )
            for entry in one["entries"]
        ],
    )


def _account(one: Item) -> Account:
    return Account(
        user=str(one["user"]),
        password=str(one["password"]),
        project=str(one["project"]),
        role=str(one["role"]),
    )


def question(registered: Registered, seconds: int, *, brief: bool = False) -> dict[str, Any]:
    """What ``ask_keystone.py`` reads. ``seconds``: how long a request may take. ``brief``: only what tokens
    do not tell of a cloud in which all is well; a third of the requests."""

    def login(account: Account) -> dict[str, str]:
        return {"user": account.user, "password": account.password, "project": account.project}

    return {
        "url": registered.url,
        "authority": registered.authority,
        "seconds": seconds,
        "admin": login(registered.admin),
        "logins": [login(account) for account in registered.accounts],
        "paths": [_limits(registered)] if brief else list(_paths(registered)),
        "users": sorted({one.user for one in (registered.admin, *(() if brief else registered.accounts))}),
    }


def _limits(registered: Registered) -> str:
    return f"/registered_limits?{urlencode({'region_id': registered.region})}"


def _paths(registered: Registered) -> Iterator[str]:
    yield from ("/regions", "/roles", "/services")
    yield f"/endpoints?{urlencode({'region_id': registered.region})}"
    yield _limits(registered)
    for kind, names in (
        ("users", {one.user for one in (registered.admin, *registered.accounts)}),
        ("projects", {registered.admin.project, *(entry.project for entry in registered.entries)}),
    ):
        for name in sorted(names):
            yield f"/{kind}?{urlencode({'name': name, 'domain_id': DOMAIN})}"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What Keystone says: items by kind (such as ``endpoints``), roles by user, and the users who are let
    in."""

    items: Mapping[str, Sequence[Item]]
    assignments: Mapping[str, Sequence[Item]]
    let_in: Sequence[str]

    def named(self, kind: str, name: str) -> Item | None:
        """The item of ``kind`` that is called ``name``."""
        return next((one for one in self.items[kind] if one["name"] == name), None)


def read_answers(said: Item) -> Answers:
    """What ``ask_keystone.py`` has printed. Raises ``UnreadableError`` for what is no such thing."""
    items: dict[str, list[Item]] = {}
    try:
        for path, answer in said["answers"].items():
            kind = path.strip("/").partition("?")[0]
            if answer.get("truncated"):
                raise UnreadableError(f"its answer to {path} is cut off, by list_limit")
            items.setdefault(kind, []).extend(answer[kind])
        return Answers(items=items, assignments=dict(said["assignments"]), let_in=list(said["tokens"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"an answer without {error}") from None


def read_brief(said: Item) -> Answers:
    """What it has printed to a brief question, with what tokens tell: who is let in is enabled, and so is
    their project; the catalogue has what is enabled, with its URLs. What is missing there may be disabled, so
    what ``judge`` finds of it is only that something is wrong.

    Raises ``UnreadableError`` likewise."""
    brief = read_answers(said)
    items: dict[str, list[Item]] = {
        kind: [] for kind in ("regions", "roles", "services", "endpoints", "users", "projects")
    }
    assignments = {user: list(found) for user, found in brief.assignments.items()}
    try:
        for name, token in said["tokens"].items():
            items["users"].append({**token["user"], "enabled": True})
            items["roles"] += token["roles"]
            project = token.get("project")
            if project:
                items["projects"].append({**project, "enabled": True})
                scope = {"project": {"id": project["id"]}}
                assignments.setdefault(name, []).extend(
                    {"role": role, "scope": scope} for role in token["roles"]
                )
            for service in token["catalog"]:
                items["services"].append({**service, "enabled": True})
                items["endpoints"] += [
                    {**one, "service_id": service["id"], "enabled": True} for one in service["endpoints"]
                ]
        items["regions"] += [{"id": one["region_id"]} for one in items["endpoints"]]
        return Answers(items={**items, **brief.items}, assignments=assignments, let_in=brief.let_in)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"an answer without {error}") from None


def judge(registered: Registered, answers: Answers) -> dict[str, list[str]]:
    """What is another than what was ``registered``, in sentences, by resource; each resource is named. What
    is there beside it is no drift: other users, roles, regions, endpoints, limits.

    Raises ``UnreadableError`` where an answer lacks what it must have.
    """
    try:
        return {
            registered.resource: list(_administrator(registered, answers)),
            **{entry.resource: list(_entry(registered, entry, answers)) for entry in registered.entries},
        }
    except KeyError as error:
        raise UnreadableError(f"an answer without {error}") from None


def refused(registered: Registered) -> dict[str, list[str]]:
    """That the administrator is not let in, after which nothing else can be told."""
    why = "not let in: disabled, removed, with another password, or without a role"
    return {
        **{resource: [] for resource in registered.resources},
        registered.resource: [f"user {registered.admin.user}: {why}"],
    }


def _administrator(registered: Registered, answers: Answers) -> Iterator[str]:
    admin = registered.admin
    if not any(one["id"] == registered.region for one in answers.items["regions"]):
        yield f"region {registered.region}: missing"
    for role in ROLES:
        if answers.named("roles", role) is None:
            yield f"role {role}: missing"
    # Whether it is enabled is told of Keystone's entry, whose Job enables it.
    if answers.named("projects", admin.project) is None:
        yield f"project {admin.project}: missing"
    yield from _assigned(admin, answers)
    if not any(
        "system" in one["scope"] and _is_role(one, admin.role, answers)
        for one in answers.assignments.get(admin.user, ())
    ):
        yield f"role {admin.role} of user {admin.user} on the system: missing"


def _entry(registered: Registered, entry: Entry, answers: Answers) -> Iterator[str]:
    project = answers.named("projects", entry.project)
    if project is not None and not project["enabled"]:
        yield f"project {entry.project}: disabled"
    if entry.account is not None:
        if project is None:
            yield f"project {entry.project}: missing"
        yield from _user(entry.account, answers, project)
    endpoints = [one for one in answers.items["endpoints"] if one["region_id"] == registered.region]
    service = find_service(entry, answers.items["services"], endpoints)
    if service is None:
        yield f"service {entry.name}: missing"
        return
    if service["name"] != entry.name:
        yield f"service {entry.name}: name is {service['name']}, not {entry.name}"
    if service["type"] != entry.kind:
        yield f"service {entry.name}: type is {service['type']}, not {entry.kind}"
    if not service["enabled"]:
        yield f"service {entry.name}: disabled"
    own = [one for one in endpoints if one["service_id"] == service["id"]]
    for interface in INTERFACES:
        endpoint = find_endpoint([one for one in own if one["interface"] == interface], entry.url)
        called = f"endpoint {interface} of {entry.name}"
        if endpoint is None:
            yield f"{called}: missing"
            continue
        if endpoint["url"] != entry.url:
            yield f"{called}: url is {endpoint['url']}, not {entry.url}"
        if not endpoint["enabled"]:
            yield f"{called}: disabled"
    for name, most in sorted(entry.limits.items()):
        limit = next(
            (
                one
                for one in answers.items["registered_limits"]
                if (one["resource_name"], one["service_id"], one["region_id"])
                == (name, service["id"], registered.region)
            ),
            None,
        )
        if limit is None:
            yield f"limit {name} of {entry.name}: missing"
        elif limit["default_limit"] != most:
            yield f"limit {name} of {entry.name}: {limit['default_limit']}, not {most}"


def find_service(entry: Entry, services: Iterable[Item], endpoints: Sequence[Item]) -> Item | None:
    """The service of ``entry``: by name and type, or by one of them and an endpoint of ours, since somebody
    may have changed the other. Operators may have services of the same type. As ``register.py`` finds it."""
    ours = {one["service_id"] for one in endpoints if one["url"] == entry.url}
    ranked = [
        ((one["name"] == entry.name) + (one["type"] == entry.kind), one["id"] in ours, one)
        for one in services
    ]
    fitting = [one for one in ranked if one[0] == 2 or (one[0] == 1 and one[1])]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else None


def find_endpoint(endpoints: Sequence[Item], url: str) -> Item | None:
    """Of ``endpoints`` the one that is ours: which has the ``url`` and is enabled, has it, or is the first.
    As ``register.py`` finds it."""
    return max(endpoints, key=lambda one: (one["url"] == url, one["enabled"]), default=None)


def _user(account: Account, answers: Answers, project: Item | None) -> Iterator[str]:
    user = answers.named("users", account.user)
    if user is None:
        yield f"user {account.user}: missing"
        return
    if not user["enabled"]:
        yield f"user {account.user}: disabled"
    missing = list(_assigned(account, answers)) if project is not None else []
    yield from missing
    lets_in = user["enabled"] and not missing and project is not None and project["enabled"]
    if lets_in and account.user not in answers.let_in:
        yield f"user {account.user}: another password"


def _assigned(account: Account, answers: Answers) -> Iterator[str]:
    """That ``account`` lacks its role on its project."""
    project = answers.named("projects", account.project)
    if project is None or not any(
        one["scope"].get("project", {}).get("id") == project["id"] and _is_role(one, account.role, answers)
        for one in answers.assignments.get(account.user, ())
    ):
        yield f"role {account.role} of user {account.user} on project {account.project}: missing"


def _is_role(assignment: Item, name: str, answers: Answers) -> bool:
    role = answers.named("roles", name)
    # One that is inherited holds for the projects below, and not for this one.
    inherited = "OS-INHERIT:inherited_to" in assignment["scope"]
    return role is not None and not inherited and assignment["role"]["id"] == role["id"]
