"""The configuration of a server, and of SSH access to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from jarvis.config.types import Address, DnsLabel, HostKey, Place, Port, Section, Spelled, Text
from jarvis.roles import ServerRole

_User = Annotated[str, Spelled(r"[^\s-]\S*", "the name of a user of the server, such as root")]
_Path = Annotated[str, Spelled(r".+", "the path of a file")]


_HOST_KEY = "the server's public key, as ssh-keyscan prints it"
_HOST_KEY_FILE = "known_hosts file with that key, relative to the project"


class BastionSettings(Section):
    """The SSH jump host for all other servers (``ssh -J``). Its host key is checked too."""

    host: Annotated[str, Spelled(r"[A-Za-z0-9][A-Za-z0-9.-]*", "an address or a name")] = Field(
        description="its address or name"
    )
    port: Port = 22
    user: _User | None = Field(default=None, description="without it, ssh.user")
    host_key: HostKey | None = Field(default=None, description=_HOST_KEY)
    host_key_file: _Path | None = Field(default=None, description=_HOST_KEY_FILE)
    private_key_file: _Path | None = Field(
        default=None, description="without it, ssh.private_key_file; without both, the SSH agent"
    )

    @model_validator(mode="after")
    def _one(self) -> BastionSettings:
        if (self.host_key is None) == (self.host_key_file is None):
            raise ValueError("the bastion needs one of host_key and host_key_file")
        return self


class Ssh(Section):
    """SSH access to servers, where a server does not say otherwise."""

    user: _User = "root"
    sudo: bool = Field(
        default=False, description="the user is not root, and may become root by sudo without a password"
    )
    port: Port = 22
    private_key_file: _Path | None = Field(
        default=None,
        description="path of the private key, relative to the project; without it, the SSH agent",
    )
    wait_seconds: int | None = Field(
        default=None,
        ge=10,
        le=3600,
        description="how long a server that does not answer is waited for at most; without it, 60 times"
        " patience, and for what is deployed already as long as when it was deployed",
    )
    bastion: BastionSettings | None = None


class PreflightSettings(Section):
    """Requirements on a server. Memory is in MiB, disk in GiB, clock skew in seconds."""

    min_cores: int = Field(default=2, ge=1)
    min_memory_mib: int = Field(default=3500, ge=256)
    min_disk_gib: int = Field(default=10, ge=1, description="free space below /var")
    max_clock_skew_seconds: int = Field(default=5, ge=1)
    require_time_sync: bool = Field(default=True, description="a time service must be at work on the server")


class Osd(Section):
    """The disk of a storage server: a file, or a whole block device.

    A device is named by a path that stays the same at each boot, below ``/dev/disk/by-id``.
    """

    path: Annotated[
        str, Spelled(r"(/[A-Za-z0-9._-]+)+", "an absolute path of letters, digits, ., _ and -")
    ] = Field(
        default="/var/lib/ceph/osd.img",
        description="a file, made sparse, that serves as a disk",
    )
    size_gib: int = Field(default=8, ge=2, description="of that file")
    device: (
        Annotated[
            str,
            Spelled(
                r"/dev(/[A-Za-z0-9._:+@-]+)+", "a path below /dev, such as /dev/disk/by-id/wwn-0x5000c500a1b2"
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="a block device with nothing on it, instead of a file",
    )

    @model_validator(mode="after")
    def _one(self) -> Osd:
        if self.device and self.model_fields_set & {"path", "size_gib"}:
            raise ValueError("either a device, or a path and its size_gib")
        return self


class Server(Section):
    """One server. Its host key stands here, or in a file (as the lab of servers in a box writes it)."""

    name: DnsLabel
    address: Address
    host_key: HostKey | None = Field(default=None, description=_HOST_KEY)
    host_key_file: _Path | None = Field(default=None, description=_HOST_KEY_FILE)
    user: _User | None = None
    sudo: bool | None = None
    port: Port | None = None
    private_key_file: _Path | None = None
    # Linux' names of interfaces: at most 15 characters (IFNAMSIZ of linux/if.h is 16, with a NUL).
    interface: Annotated[
        str,
        Spelled(r"([A-Za-z0-9_.-][A-Za-z0-9_.:@-]{0,14})?", "the name of a network interface, such as eth0"),
    ] = Field(default="", description="network interface of the address; empty: found by address")
    roles: frozenset[ServerRole] = Field(min_length=1)
    labels: dict[str, Text] = Field(default_factory=dict, description="labels of its Kubernetes node")
    sysctls: dict[str, Text] = Field(
        default_factory=dict, description="kernel settings, by the names that sysctl(8) has with dots"
    )
    lost: bool = Field(
        default=False,
        description="the server is gone for good: nothing is asked of it, its part in each cluster ends, and "
        "the others speak to it no more; it keeps its place in the list",
    )
    take_over: (
        Annotated[
            str,
            Spelled(
                r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|unnamed-[0-9a-f]{12})",
                "the id of a deployment: copy it from the error that named it",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="id of another deployment that has this server now, as the error prints it; "
        "its data and roles stay, and this state's keys replace its own",
    )
    osd: Osd = Field(default_factory=Osd, description="the disk of a server with the role storage")


def map_mistakes(
    servers: Sequence[Server], field: str, mistake: Callable[[Server, str, str], str]
) -> Iterator[tuple[Place, str]]:
    """Mistakes in a map that every server has.

    Args:
        servers: the servers.
        field: name of the map.
        mistake: says what is wrong with a server's name and value there; empty where nothing is.

    Yields:
        The place of each mistake, and what is wrong.
    """
    for at, server in enumerate(servers):
        for name, value in getattr(server, field).items():
            why = mistake(server, name, value)
            if why:
                yield ("servers", at, field, name), why
