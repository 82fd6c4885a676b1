"""The configuration below OpenStack: etcd, Kubernetes, registry, database, storage and queue."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from jarvis.config.elsewhere import OwnedElsewhere
from jarvis.config.types import Flags, Keys, Option, Place, Section, Spelled, Version, refusal


class Versions(Section):
    """What runs on the servers. Each must be the version in the host release, and fit the others."""

    kubernetes: Version = "1.37.2"
    etcd: Version = "3.6.16"
    containerd: Version = "2.4.2"


def _words(value: dict[str, Option]) -> dict[str, Option]:
    """Checks that a systemd unit takes the flags unchanged."""
    strange: list[tuple[Place, str]] = [
        ((name,), f"{text!r} has blanks, quotes, \\, $ or % in it, which no flag of etcd needs")
        for name, text in value.items()
        if isinstance(text, str) and re.search(r"[\s\"'\\$%]", text)
    ]
    if strange:
        raise refusal("flags", strange)
    return value


_DatabaseOptions = Annotated[
    dict[str, Option],
    Keys(Spelled("[a-z][a-z0-9_-]*", "the name of an option of MariaDB, such as max_connections")),
]
_StorageOptions = Annotated[
    dict[str, Option], Keys(Spelled("[a-z][a-z0-9_ -]*", "the name of an option of Ceph, such as mon_lease"))
]


class Etcd(Section):
    """Flags of etcd beyond those that Jarvis sets, without dashes."""

    flags: Annotated[Flags, AfterValidator(_words)] = Field(default_factory=dict)


class Kubernetes(Section):
    """Options of Kubernetes' parts beyond those that Jarvis sets.

    Flags are written without dashes. ``kubelet`` and ``kube_proxy`` are merged into KubeletConfiguration and
    KubeProxyConfiguration, and so have the fields of those objects.
    """

    apiserver_flags: Flags = Field(default_factory=dict)
    controller_manager_flags: Flags = Field(default_factory=dict)
    scheduler_flags: Flags = Field(default_factory=dict)
    kubelet: dict[str, Any] = Field(default_factory=dict)
    kube_proxy: dict[str, Any] = Field(default_factory=dict)
    operator_days: int = Field(
        default=30, ge=2, le=365, description="how long the certificate in the kubeconfig lives"
    )
    containerd_restrict_oom_score_adj: bool = Field(
        default=False, description="for a server that may not lower oom_score_adj, such as one in a container"
    )
    owned_elsewhere: list[OwnedElsewhere] = Field(
        default_factory=list, description="fields of Jarvis' objects that another manager owns"
    )


class DatabaseSettings(Section):
    """Options of MariaDB beyond those that Jarvis sets, by their names in the section [mariadbd]."""

    options: _DatabaseOptions = Field(default_factory=dict)
    buffer_pool_mib: int = Field(default=256, ge=16)


class StorageSettings(Section):
    """Ceph on the servers with the role storage.

    ``options``, beyond those that Jarvis sets, have their names in the section [global] of ceph.conf.
    """

    copies: int | None = Field(
        default=None, ge=1, le=9, description="of each object, on as many servers; 3, or one for each server"
    )
    # Ceph's default is 4 GiB, and its least 896 MiB
    # (https://docs.ceph.com/en/pacific/rados/configuration/bluestore-config-ref/).
    osd_memory_mib: int = Field(default=4096, ge=896, description="what each osd tries to keep to")
    options: _StorageOptions = Field(default_factory=dict)


class QueueSettings(Section):
    """Options of RabbitMQ."""

    memory_mib: int = Field(
        default=512, ge=128, description="what a member uses before it makes publishers wait"
    )


class RegistrySettings(Section):
    """The registry of container images on the servers."""

    port: int = Field(default=5000, ge=1024, le=65535)
