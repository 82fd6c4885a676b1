"""Groups of Keystone's users."""

from __future__ import annotations

from typing import Any

from jarvis.config.types import Text
from jarvis.openstack.declared.model import InDomain, Kind
from jarvis.openstack.declared.program import Items


class Group(InDomain):
    """A group of users. Who is in it is not declared."""

    kind = "group"
    description: Text = ""

    def fields(self) -> dict[str, Any]:
        """What it has."""
        return {"description": self.description}


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
