"""The configuration of OpenStack's services and of the gateway in front of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model

from jarvis.config.types import DnsLabel, Place, Section, Spelled
from jarvis.openstack.catalogue import CATALOGUE, DEFAULT, named
from jarvis.openstack.declared.catalogue import KINDS

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

    ServiceName = str
else:
    ServiceName = Literal[tuple(one.name for one in CATALOGUE)]


class Gateway(Section):
    """The HTTP gateway inside the cluster."""

    https_port: int = Field(default=443, ge=1, le=65535)


class _Objects(Section):
    """Objects of OpenStack that Jarvis makes and keeps, each known by names."""


if TYPE_CHECKING:
    Objects = _Objects
else:
    # One list for each kind; read them by ``jarvis.openstack.declared.catalogue.declared``.
    Objects = create_model(
        "Objects",
        __base__=_Objects,
        __doc__=_Objects.__doc__,
        **{each.section: (list[each.settings], Field(default_factory=list)) for each in KINDS},
    )


class _OpenStack(Section):
    """The services of OpenStack, and what they share."""

    region: Annotated[
        str,
        Spelled(
            "[A-Za-z][A-Za-z0-9_-]{0,254}",
            "a name of letters, digits, _ and -, with a letter first, such as RegionOne",
        ),
    ] = "RegionOne"
    namespace: DnsLabel = "openstack"
    services: list[ServiceName] = Field(
        default_factory=lambda: list(DEFAULT), description="the services that the environment has"
    )
    objects: Objects = Field(
        default_factory=Objects, description="projects, groups, role assignments and images that there are"
    )


if TYPE_CHECKING:
    OpenStack = _OpenStack
else:
    # One field for each service of the catalogue; read it by ``ServiceDefinition.settings_in``.
    OpenStack = create_model(
        "OpenStack",
        __base__=_OpenStack,
        __doc__=_OpenStack.__doc__,
        **{each.name: (each.settings, Field(default_factory=each.settings)) for each in CATALOGUE},
    )


def service_mistakes(env: Environment) -> Iterator[tuple[Place, str]]:
    """What is wrong with the services of ``env``, one sentence for each field."""
    given = env.openstack.services
    place = ("openstack", "services")
    for name in sorted({one for one in given if given.count(one) > 1}):
        yield place, f"{name} is there more than once"
    if "keystone" not in given:
        yield place, "keystone is not there, by which all others are found and log in: add it"
    for service in map(named, dict.fromkeys(given)):
        missing = [one for one in service.needs if one not in given and one != "keystone"]
        if missing:
            yield place, f"{service.name} needs {', '.join(missing)}: add it, or take {service.name} out"
    for service in CATALOGUE:
        if service.name not in (*given, "keystone") and service.name in env.openstack.model_fields_set:
            yield (
                ("openstack", service.name),
                f"{service.name} is not among openstack.services: add it there, or remove this section",
            )
