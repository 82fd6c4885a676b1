"""The configuration of OpenStack's services and of the gateway in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, create_model

from jarvis.config.types import DnsLabel, Section, Spelled
from jarvis.openstack.catalogue import CATALOGUE


class Gateway(Section):
    """The HTTP gateway inside the cluster."""

    https_port: int = Field(default=443, ge=1, le=65535)


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
