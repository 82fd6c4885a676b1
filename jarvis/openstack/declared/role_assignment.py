"""Roles of users and groups."""

from __future__ import annotations

import urllib.error
from typing import Any, Self

from pydantic import Field, model_validator

from jarvis.config.types import refusal
from jarvis.openstack.declared.model import DeclaredObject, Domain, Kind, Name, Reference, ShortName
from jarvis.openstack.declared.program import DEFAULT_DOMAIN, Items, Json


class RoleAssignment(DeclaredObject):
    """A role of one group or user, on one project or domain, or on the system."""

    role: Name = Field(description="name of the role, such as member")
    group: ShortName | None = None
    group_domain: Domain = DEFAULT_DOMAIN
    user: Name | None = Field(default=None, description="users are not declared, and have to be there")
    user_domain: Domain = DEFAULT_DOMAIN
    project: ShortName | None = None
    project_domain: Domain = DEFAULT_DOMAIN
    domain: ShortName | None = Field(default=None, description="the role is on this domain")
    system: bool = Field(default=False, description="the role is on the whole system")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        mistakes = []
        if (self.group is None) == (self.user is None):
            mistakes.append((("group",), "a role is of one group or one user: name one of them"))
        if [self.project is not None, self.domain is not None, self.system].count(True) != 1:
            text = "a role is on one project, one domain, or the system: name one of them"
            mistakes.append((("project",), text))
        for name in ("group", "user", "project"):
            if f"{name}_domain" in self.model_fields_set and getattr(self, name) is None:
                mistakes.append(((f"{name}_domain",), f"there is no {name} here that could be in a domain"))
        if mistakes:
            raise refusal("RoleAssignment", list(mistakes))
        return self

    @property
    def actor(self) -> Reference:
        """Who has the role."""
        if self.group is not None:
            return Reference(kind="group", name=self.group, domain=self.group_domain, field="group")
        return Reference(kind="user", name=str(self.user), domain=self.user_domain, field="user")

    @property
    def target(self) -> Reference | None:
        """What the role is on; ``None`` for the system."""
        if self.project is not None:
            return Reference(kind="project", name=self.project, domain=self.project_domain, field="project")
        return Reference(kind="domain", name=self.domain, field="domain") if self.domain is not None else None

    def key(self) -> str:
        """What it is called: ``role-assignment/member/group/researchers/project/research``."""
        return "/".join(
            ["role-assignment", self.role, self.actor.key, self.target.key if self.target else "system"]
        )

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by, which is all of it."""
        actor, target = self.actor, self.target
        on = {} if target is None else {target.kind: [target.name, target.domain]}
        return {"role": self.role, actor.kind: [actor.name, actor.domain], "on": on}

    def fields(self) -> dict[str, Any]:
        """Nothing beside what it is found by."""
        return {}

    def references(self) -> list[Reference]:
        """Its role, who has it, and what it is on."""
        role = Reference(kind="role", name=self.role, field="role")
        return [role, self.actor, *([self.target] if self.target else [])]


class RoleAssignments(Items):
    """Assignments of roles in Keystone's API, where each is a path."""

    def find(self, where: Json) -> Json | None:
        """Its path; ``None`` where it is not there."""
        path = self._path(where)
        try:
            self.cloud.call("identity", "HEAD", path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None
        return {"path": path}

    def make(self, wanted: Json) -> None:
        """Gives the role."""
        self.cloud.call("identity", "PUT", self._path(wanted["where"]))

    def remove(self, item: Json) -> None:
        """Takes the role."""
        self.cloud.call("identity", "DELETE", item["path"])

    def _path(self, where: Json) -> str:
        role = self.cloud.id_of("role", where["role"])
        actor = next(kind for kind in ("group", "user") if kind in where)
        who = self.cloud.id_of(actor, *where[actor])
        on = "/system"
        for kind, names in where["on"].items():
            on = f"/{kind}s/{self.cloud.id_of(kind, *names)}"
        return f"{on}/{actor}s/{who}/roles/{role}"


ROLE_ASSIGNMENT = Kind(
    name="role-assignment",
    section="role_assignments",
    service="keystone",
    settings=RoleAssignment,
    api=RoleAssignments,
    loses="which lets those who have it do their work",
)
