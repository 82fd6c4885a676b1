"""The OpenStack services and the gateway before them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jarvis.config.types import DnsLabel, Option, Secret, Section

Rotation = Literal["daily", "weekly", "monthly"]


class Service(Section):
    """What every OpenStack service has.

    ``options`` are named ``group.option`` as in the service's own reference, and checked against its list.
    Those that this list calls secret are ``secret_options``, which Pulumi encrypts.
    """

    replicas: int = Field(default=2, ge=1, le=64)
    options: dict[str, Option] = Field(default_factory=dict)
    secret_options: dict[str, Secret] = Field(
        default_factory=dict, description="options that hold a secret, encrypted by Pulumi"
    )
    processes: int = Field(default=2, ge=1, le=64, description="uWSGI worker processes of one replica")
    threads: int = Field(default=4, ge=1, le=256, description="requests at once of one process")

    @property
    def at_once(self) -> int:
        """How many requests the gateway gives one replica at once. A thread of each process is left for
        probes: a replica that is busy must not look as if it were gone."""
        return max(1, self.processes * (self.threads - 1))


class Keystone(Service):
    """The identity service."""

    admin_user: str = "admin"
    admin_project: str = "admin"
    fernet_rotation: Rotation = Field(default="daily", description="of the keys that encrypt tokens")
    credential_rotation: Rotation = Field(default="monthly", description="of those for credentials")


class ImageQuotas(Section):
    """What a project may have of images at most; -1 is no limit.

    They are the defaults in Keystone (``openstack registered limit list``), where a project may be given
    others (``openstack limit create``)."""

    image_size_total: int = Field(default=1_024_000, ge=-1, description="MiB of all its images")
    image_stage_total: int = Field(default=102_400, ge=-1, description="MiB staged for an import")
    image_count_total: int = Field(default=1000, ge=-1)
    image_count_uploading: int = Field(default=32, ge=-1, description="images uploaded at once")


class Glance(Service):
    """The image service."""

    quotas: ImageQuotas = Field(default_factory=ImageQuotas)
    # Uploads and downloads wait for others most of the time.
    threads: int = Field(default=16, ge=1, le=256, description="requests at once of one process")
    staging_gib: int = Field(
        default=40, ge=1, description="space of one replica for imports: an image, and what it becomes"
    )


class Gateway(Section):
    """The HTTP gateway inside the cluster."""

    https_port: int = Field(default=443, ge=1, le=65535)


class OpenStack(Section):
    """The services of OpenStack, and what they share."""

    region: str = Field(default="RegionOne", pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,254}$")
    namespace: DnsLabel = "openstack"
    keystone: Keystone = Field(default_factory=Keystone)
    glance: Glance = Field(default_factory=Glance)
