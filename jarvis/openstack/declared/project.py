"""Projects of Keystone."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from jarvis.config.types import Text
from jarvis.openstack.declared.model import InDomain, Kind
from jarvis.openstack.declared.program import Items


class Project(InDomain):
    """A project: what users own their servers, images and networks by."""

    kind = "project"
    description: Text = ""
    enabled: bool = Field(default=True, description="its users are let in")

    def fields(self) -> dict[str, Any]:
        """What it has."""
        return {"description": self.description, "enabled": self.enabled}


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
