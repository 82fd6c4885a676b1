"""Groups of Keystone's users."""

from __future__ import annotations

from typing import Any

from jarvis.config.types import Text
from jarvis.openstack.declared.model import DeclaredObject, Domain, Kind, Reference, ShortName
from jarvis.openstack.declared.program import DEFAULT_DOMAIN, Items, key_of


class Group(DeclaredObject):
    """A group of users. Who is in it is not declared."""

    name: ShortName
    domain: Domain = DEFAULT_DOMAIN
    description: Text = ""

    def key(self) -> str:
        """What it is called."""
        return key_of("group", self.name, self.domain)

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by."""
        return {"name": self.name, "domain": self.domain}

    def fields(self) -> dict[str, Any]:
        """What it has."""
        return {"description": self.description}

    def references(self) -> list[Reference]:
        """Its domain."""
        return [Reference(kind="domain", name=self.domain, field="domain")]


class Groups(Items):
    """Groups in Keystone's API."""

    path, many, one = "/groups", "groups", "group"
    fields = ("description",)


GROUP = Kind(
    name="group",
    section="groups",
    service="keystone",
    settings=Group,
    api=Groups,
    loses="with the list of its members and all their rights by it",
)
