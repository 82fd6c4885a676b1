"""The configuration of protection from mistakes."""

from __future__ import annotations

from pydantic import Field

from jarvis.config.types import Section


class Safety(Section):
    """Protection of what cannot be made again.

    Protected are servers, members, authorities, the storage's identity, Namespaces, and keys.
    """

    protect: bool = Field(default=True, description="Pulumi deletes and replaces nothing that holds data")
    may_remove: list[str] = Field(
        default_factory=list,
        description="what the next change may take away all the same, by name: servers, resources, or the"
        " data of a service that is off, as placement-data",
    )
