"""The configuration of OpenStack's services and of the gateway in front of them."""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from jarvis.config.types import DnsLabel, Option, Secret, Section, Spelled

RotationSchedule = Literal["daily", "weekly", "monthly"]


def _refused(_: object) -> NoReturn:
    raise ValueError(
        "this service has no threads: a request could be judged by the token of another one in the same"
        " process (docs/decisions/029-threads.md); remove it, and raise processes or replicas instead:"
        " each process serves one request at a time"
    )


# Hidden from the editors' schema; an error with the reason where it is set.
_NoThreads = Annotated[SkipJsonSchema[int], BeforeValidator(_refused)]


class ServiceSettings(Section):
    """Settings that every OpenStack service has.

    ``options`` are keyed ``group.option`` as in the service's own reference, and are checked against the list
    made from its code. Options that this list calls secret belong into ``secret_options``, which Pulumi
    encrypts.

    A process serves one request at a time. A service may override ``threads`` by a field that can be set once
    a decision record shows from its code that no two requests share anything (docs/decisions/029-threads.md).
    """

    replicas: int = Field(default=2, ge=1, le=64)
    options: dict[str, Option] = Field(default_factory=dict)
    secret_options: dict[str, Secret] = Field(
        default_factory=dict, description="options that hold a secret, encrypted by Pulumi"
    )
    # A request mostly computes, and waits for the database in between: two processes for each of the two
    # cores of a small server.
    processes: int = Field(default=4, ge=1, le=64, description="uWSGI worker processes of one replica")
    threads: _NoThreads = Field(default=1, exclude=True)

    @property
    def at_once(self) -> int:
        """How many requests the gateway sends to one replica at once.

        The rest is left for probes, so that a busy replica does not look dead: one thread of each process, or
        one process where processes have no threads. A single process serves both.
        """
        left = self.processes if self.threads > 1 else 1
        return max(1, self.processes * self.threads - left)


class KeystoneSettings(ServiceSettings):
    """The identity service."""

    admin_user: Annotated[str, Spelled(".{1,255}", "a name of 1 to 255 characters")] = "admin"
    admin_project: Annotated[str, Spelled(".{1,64}", "a name of 1 to 64 characters")] = "admin"
    fernet_rotation: RotationSchedule = Field(default="daily", description="of the keys that encrypt tokens")
    credential_rotation: RotationSchedule = Field(default="monthly", description="of those for credentials")


class ImageQuotas(Section):
    """The images that a project may have at most; -1 is no limit.

    These are the defaults in Keystone (``openstack registered limit list``), where a project may be given
    others (``openstack limit create``).
    """

    image_size_total: int = Field(default=1_024_000, ge=-1, description="MiB of all its images")
    image_stage_total: int = Field(default=102_400, ge=-1, description="MiB staged for an import")
    image_count_total: int = Field(default=1000, ge=-1)
    image_count_uploading: int = Field(default=32, ge=-1, description="images uploaded at once")


class GlanceSettings(ServiceSettings):
    """The image service."""

    quotas: ImageQuotas = Field(default_factory=ImageQuotas)
    # Uploads and downloads mostly wait for others, and each occupies a thread while it lasts.
    processes: int = Field(default=2, ge=1, le=64, description="uWSGI worker processes of one replica")
    threads: int = Field(default=16, ge=1, le=256, description="requests at once of one process")
    staging_gib: int = Field(
        default=40, ge=1, description="space of one replica for imports: an image, and what it becomes"
    )


class Gateway(Section):
    """The HTTP gateway inside the cluster."""

    https_port: int = Field(default=443, ge=1, le=65535)


class OpenStack(Section):
    """The services of OpenStack, and what they share."""

    region: Annotated[
        str,
        Spelled(
            "[A-Za-z][A-Za-z0-9_-]{0,254}",
            "a name of letters, digits, _ and -, with a letter first, such as RegionOne",
        ),
    ] = "RegionOne"
    namespace: DnsLabel = "openstack"
    keystone: KeystoneSettings = Field(default_factory=KeystoneSettings)
    glance: GlanceSettings = Field(default_factory=GlanceSettings)
