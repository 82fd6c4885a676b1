"""Projects of Keystone."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from jarvis.config.types import Text
from jarvis.openstack.declared.model import DeclaredObject, Domain, Kind, Reference, ShortName
from jarvis.openstack.declared.program import DEFAULT_DOMAIN, Items, key_of


class Project(DeclaredObject):
    """A project: what users own their servers, images and networks by."""

    name: ShortName
    domain: Domain = DEFAULT_DOMAIN
    description: Text = ""
    enabled: bool = Field(default=True, description="its users are let in")

    def key(self) -> str:
        """What it is called."""
        return key_of("project", self.name, self.domain)

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by."""
        return {"name": self.name, "domain": self.domain}

    def fields(self) -> dict[str, Any]:
        """What it has."""
        return {"description": self.description, "enabled": self.enabled}

    def references(self) -> list[Reference]:
        """Its domain."""
        return [Reference(kind="domain", name=self.domain, field="domain")]


class Projects(Items):
    """Projects in Keystone's API."""

    path, many, one = "/projects", "projects", "project"
    fields = ("description", "enabled")


PROJECT = Kind(
    name="project",
    section="projects",
    service="keystone",
    settings=Project,
    api=Projects,
    loses="with the rights on it; what it owns in other services is left without an owner",
)
