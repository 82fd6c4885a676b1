"""The OpenStack services and the gateway before them."""

from __future__ import annotations

from pydantic import Field

from jarvis.config.types import DnsLabel, Option, Section


class Service(Section):
    """What every OpenStack service has.

    ``options`` are named ``group.option`` as in the service's own reference, and checked against its list.
    """

    replicas: int = Field(default=2, ge=1, le=64)
    options: dict[str, Option] = Field(default_factory=dict)
    processes: int = Field(default=2, ge=1, le=64, description="uWSGI worker processes of one replica")


class Keystone(Service):
    """The identity service."""

    admin_user: str = "admin"
    admin_project: str = "admin"


class Gateway(Section):
    """The HTTP gateway inside the cluster."""

    https_port: int = Field(default=443, ge=1, le=65535)


class OpenStack(Section):
    """The services of OpenStack, and what they share."""

    region: str = Field(default="RegionOne", pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,254}$")
    namespace: DnsLabel = "openstack"
    keystone: Keystone = Field(default_factory=Keystone)
