"""A server, and how it is reached."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, model_validator

from jarvis.config.types import Address, DnsLabel, HostKey, Port, Section


class Role(StrEnum):
    """What a server is for. A server may have any number of roles."""

    ETCD = "etcd"
    CONTROL_PLANE = "control-plane"
    WORKER = "worker"
    REGISTRY = "registry"
    DATABASE = "database"
    QUEUE = "queue"
    STORAGE = "storage"
    GATEWAY = "gateway"


_HOST_KEY = "the server's public key, as ssh-keyscan prints it"
_HOST_KEY_FILE = "known_hosts file with that key, relative to the project"


class Bastion(Section):
    """The server through which all others are reached by SSH (``ssh -J``). Its host key is checked too."""

    host: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", description="its address or name")
    port: Port = 22
    user: str | None = Field(default=None, description="without it, ssh.user")
    host_key: HostKey | None = Field(default=None, description=_HOST_KEY)
    host_key_file: str | None = Field(default=None, description=_HOST_KEY_FILE)
    private_key_file: str | None = Field(
        default=None, description="without it, ssh.private_key_file; without both, the SSH agent"
    )

    @model_validator(mode="after")
    def _one(self) -> Bastion:
        if (self.host_key is None) == (self.host_key_file is None):
            raise ValueError("the bastion needs one of host_key and host_key_file")
        return self


class Ssh(Section):
    """How servers are reached, where a server does not say otherwise."""

    user: str = "root"
    sudo: bool = Field(
        default=False, description="the user is not root, and may become root by sudo without a password"
    )
    port: Port = 22
    private_key_file: str | None = Field(
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
    bastion: Bastion | None = None


class Preflight(Section):
    """What a server must have before anything changes there. Memory in MiB, disk in GiB, clock in seconds."""

    min_cores: int = Field(default=2, ge=1)
    min_memory_mib: int = Field(default=3500, ge=256)
    min_disk_gib: int = Field(default=10, ge=1, description="free space below /var")
    max_clock_skew_seconds: int = Field(default=5, ge=1)
    require_time_sync: bool = Field(default=True, description="a time service must be at work on the server")


class Osd(Section):
    """Where a server with the role storage keeps its share: a file, or a whole block device.

    The device is named by a path that stays the same at each boot, below ``/dev/disk/by-id``.
    """

    path: str = Field(
        default="/var/lib/ceph/osd.img",
        pattern=r"^(/[A-Za-z0-9._-]+)+$",
        description="a file, made sparse, that serves as a disk",
    )
    size_gib: int = Field(default=8, ge=2, description="of that file")
    device: str | None = Field(
        default=None,
        pattern=r"^/dev(/[A-Za-z0-9._:+@-]+)+$",
        description="a block device with nothing on it, instead of a file",
    )

    @model_validator(mode="after")
    def _one(self) -> Osd:
        if self.device and self.model_fields_set & {"path", "size_gib"}:
            raise ValueError("either a device, or a path and its size_gib")
        return self


class Server(Section):
    """One server. The host key stands here, or in a file (which the lab of servers in a box writes)."""

    name: DnsLabel
    address: Address
    host_key: HostKey | None = Field(default=None, description=_HOST_KEY)
    host_key_file: str | None = Field(default=None, description=_HOST_KEY_FILE)
    user: str | None = None
    sudo: bool | None = None
    port: Port | None = None
    private_key_file: str | None = None
    interface: str = Field(
        default="", description="network interface of the address; empty: found by address"
    )
    roles: frozenset[Role] = Field(min_length=1)
    labels: dict[str, str] = Field(default_factory=dict, description="labels of its Kubernetes node")
    sysctls: dict[str, str] = Field(default_factory=dict)
    lost: bool = Field(
        default=False,
        description="the server is gone for good: nothing is asked of it, its part in each cluster ends, and "
        "the others speak to it no more; it keeps its place in the list",
    )
    take_over: str | None = Field(
        default=None,
        pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|unnamed-[0-9a-f]{12})$",
        description="id of another deployment that has this server now, as the error prints it; "
        "its data and roles stay, and this state's keys replace its own",
    )
    osd: Osd = Field(default_factory=Osd, description="the disk of a server with the role storage")
