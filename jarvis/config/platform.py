"""etcd, Kubernetes, the registry, the database and the queue: versions and options."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from jarvis.config.types import Flags, Option, Section, Version


class Versions(Section):
    """What runs on the servers. Each must be the version in the host release, and fit the others."""

    kubernetes: Version = "1.37.2"
    etcd: Version = "3.6.16"
    containerd: Version = "2.4.2"


class Etcd(Section):
    """etcd's options beyond those that Jarvis sets, as flags without dashes."""

    flags: Flags = Field(default_factory=dict)


class Kubernetes(Section):
    """Options of Kubernetes' parts beyond those that Jarvis sets.

    Flags are written without dashes; ``kubelet`` and ``kube_proxy`` are merged into their configuration
    objects (KubeletConfiguration, KubeProxyConfiguration) and so have those objects' own field names.
    """

    apiserver_flags: Flags = Field(default_factory=dict)
    controller_manager_flags: Flags = Field(default_factory=dict)
    scheduler_flags: Flags = Field(default_factory=dict)
    kubelet: dict[str, Any] = Field(default_factory=dict)
    kube_proxy: dict[str, Any] = Field(default_factory=dict)
    containerd_restrict_oom_score_adj: bool = Field(
        default=False, description="for a server that may not lower oom_score_adj, such as one in a container"
    )


class Database(Section):
    """MariaDB's options beyond those that Jarvis sets, by their names in the section [mariadbd]."""

    options: dict[str, Option] = Field(default_factory=dict)
    buffer_pool_mib: int = Field(default=256, ge=16)


class Storage(Section):
    """Ceph on the servers with the role storage: its options beyond those that Jarvis sets have their names
    in the section [global] of ceph.conf."""

    copies: int | None = Field(
        default=None, ge=1, le=9, description="of each object, on as many servers; 3, or one for each server"
    )
    # https://docs.ceph.com/en/pacific/rados/configuration/bluestore-config-ref/: 4 GiB by default, and no
    # less than 896 MiB is taken.
    osd_memory_mib: int = Field(default=4096, ge=896, description="what each osd tries to keep to")
    options: dict[str, Option] = Field(default_factory=dict)


class Queue(Section):
    """RabbitMQ's options."""

    memory_mib: int = Field(
        default=512, ge=128, description="what a member uses before it makes publishers wait"
    )


class Registry(Section):
    """The registry of images on the servers."""

    port: int = Field(default=5000, ge=1024, le=65535)
