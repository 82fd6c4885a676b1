"""Compares what Jarvis registered in Keystone with what Keystone answers, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

# Id of the domain that has all that Jarvis makes.
DOMAIN = "default"
INTERFACES = ("public", "internal", "admin")
# The roles that ``keystone-manage bootstrap`` makes.
ROLES = ("reader", "member", "manager", "admin", "service")

Item = Mapping[str, Any]


class UnreadableError(ValueError):
    """An answer of Keystone that tells nothing."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the domain ``DOMAIN``.

    Attributes:
        user: name of the user.
        password: of the user; secret.
        project: name of the project on which the user has the role.
        role: name of the role.
    """

    user: str
    password: str = field(repr=False)
    project: str
    role: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A service as it was registered.

    Attributes:
        resource: the Job that registers it.
        name: its name in the catalogue.
        kind: its type in the catalogue.
        url: the URL of its three endpoints.
        project: the project that its account is in; of Keystone's own entry, the administrator's.
        account: its own account; ``None`` where it has none.
        limits: how much of each thing a project may have at most, by name of the registered limit.
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

    Attributes:
        url: of Keystone's API.
        authority: the certificates to trust, in PEM.
        region: the region of all endpoints.
        resource: the Job that makes the administrator.
        admin: the administrator.
        entries: the services.
    """

    url: str
    authority: str
    region: str
    resource: str
    admin: Account
    entries: Sequence[Entry]

    @property
    def resources(self) -> list[str]:
        """The resources that can have findings."""
        return [self.resource, *(entry.resource for entry in self.entries)]

    @property
    def accounts(self) -> list[Account]:
        """The accounts of the services."""
        return [entry.account for entry in self.entries if entry.account is not None]


def read_registered(record: Mapping[str, Any]) -> Registered | None:
    """Reads what the last finished ``up`` wrote into ``record``; ``None`` where an earlier Jarvis did."""
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
                # The engine gives numbers a fraction.
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
    """The question that ``ask_keystone.py`` reads.

    Args:
        registered: what was registered.
        seconds: how long a request may take.
        brief: asks only for what tokens do not tell of a cloud without drift, in a third of the requests.
    """

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
    """What Keystone answers.

    Attributes:
        items: by kind, such as ``endpoints``.
        assignments: of roles, by user.
        let_in: the users whose login succeeded.
    """

    items: Mapping[str, Sequence[Item]]
    assignments: Mapping[str, Sequence[Item]]
    let_in: Sequence[str]

    def named(self, kind: str, name: str) -> Item | None:
        """The item of ``kind`` with the name ``name``; ``None`` where there is none."""
        return next((one for one in self.items[kind] if one["name"] == name), None)


def read_answers(said: Item) -> Answers:
    """Reads what ``ask_keystone.py`` printed.

    Raises:
        UnreadableError: it printed something else, or Keystone cut an answer off (``list_limit``).
    """
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
    """Reads what ``ask_keystone.py`` printed to a brief question, and adds what tokens tell.

    A user whose login succeeds is enabled, and so is their project. The catalogue has the services and
    endpoints that are enabled, with their URLs. What it lacks may be missing or disabled: so a finding of
    ``judge`` says only that something is wrong, and not what.

    Raises:
        UnreadableError: as in ``read_answers``.
    """
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
    """Compares what was registered with what Keystone answers.

    What is there beside it is no drift: other users, roles, regions, endpoints and limits.

    Returns:
        Findings by resource. Each resource is named; one without drift has an empty list.

    Raises:
        UnreadableError: an answer lacks what it must have.
    """
    try:
        return {
            registered.resource: list(_administrator(registered, answers)),
            **{entry.resource: list(_entry(registered, entry, answers)) for entry in registered.entries},
        }
    except KeyError as error:
        raise UnreadableError(f"an answer without {error}") from None


def refused(registered: Registered) -> dict[str, list[str]]:
    """The findings where Keystone refuses the administrator: that alone, since nothing else can be told."""
    why = "not let in: disabled, removed, with another password, or without a role"
    return {
        **{resource: [] for resource in registered.resources},
        registered.resource: [f"user {registered.admin.user}: {why}"],
    }


def _administrator(registered: Registered, answers: Answers) -> Iterator[str]:
    """Findings of what the administrator's Job makes: region, roles, project, and the account's roles."""
    admin = registered.admin
    if not any(one["id"] == registered.region for one in answers.items["regions"]):
        yield f"region {registered.region}: missing"
    for role in ROLES:
        if answers.named("roles", role) is None:
            yield f"role {role}: missing"
    # Whether the project is enabled is a finding of Keystone's entry, whose Job enables it.
    if answers.named("projects", admin.project) is None:
        yield f"project {admin.project}: missing"
    yield from _assigned(admin, answers)
    if not any(
        "system" in one["scope"] and _is_role(one, admin.role, answers)
        for one in answers.assignments.get(admin.user, ())
    ):
        yield f"role {admin.role} of user {admin.user} on the system: missing"


def _entry(registered: Registered, entry: Entry, answers: Answers) -> Iterator[str]:
    """Findings of one service: its project, account, catalogue entry, endpoints and limits."""
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
    """Finds the service of an entry, as ``register.py`` does.

    It has the name and the type; or one of them and an endpoint of ours, since somebody may have changed the
    other. Operators may have services of the same type.

    Args:
        entry: the service as it was registered.
        services: all services.
        endpoints: those of the entry's region.

    Returns:
        The service; ``None`` where there is none.
    """
    ours = {one["service_id"] for one in endpoints if one["url"] == entry.url}
    ranked = [
        ((one["name"] == entry.name) + (one["type"] == entry.kind), one["id"] in ours, one)
        for one in services
    ]
    fitting = [one for one in ranked if one[0] == 2 or (one[0] == 1 and one[1])]
    return max(fitting, key=lambda one: one[:2])[2] if fitting else None


def find_endpoint(endpoints: Sequence[Item], url: str) -> Item | None:
    """Finds our endpoint of one service and interface, as ``register.py`` does.

    It is one that has the ``url`` and is enabled, or else one that has the ``url``, or else one that is
    enabled, or else the first.

    Returns:
        The endpoint; ``None`` where there is none.
    """
    return max(endpoints, key=lambda one: (one["url"] == url, one["enabled"]), default=None)


def _user(account: Account, answers: Answers, project: Item | None) -> Iterator[str]:
    """Findings of a service's account: the user, its role, and its password.

    Only a user who is enabled and has a role, on a project that is enabled, can log in. Otherwise there is no
    finding about the password.
    """
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
    """The finding that ``account`` lacks its role on its project."""
    project = answers.named("projects", account.project)
    if project is None or not any(
        one["scope"].get("project", {}).get("id") == project["id"] and _is_role(one, account.role, answers)
        for one in answers.assignments.get(account.user, ())
    ):
        yield f"role {account.role} of user {account.user} on project {account.project}: missing"


def _is_role(assignment: Item, name: str, answers: Answers) -> bool:
    """Whether ``assignment`` gives the role ``name``."""
    role = answers.named("roles", name)
    # An inherited assignment holds for the projects below, and not for this one.
    inherited = "OS-INHERIT:inherited_to" in assignment["scope"]
    return role is not None and not inherited and assignment["role"]["id"] == role["id"]
