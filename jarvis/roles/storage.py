"""The role of servers with a part of the storage: a monitor and an osd of Ceph."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Range, Source

_CEPH = Opening(use="Ceph", sources=(Source.SERVERS, Source.PODS))

ROLE = HostRole(
    name="storage",
    required=True,
    quorum=True,
    packages=("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd"),
    # https://docs.ceph.com/en/pacific/rados/configuration/network-config-ref/
    listens=(
        Listens(whose="the storage", ports=(3300,), opening=_CEPH),
        Listens(whose="the storage", ports=(6789, Range(6800, 7300)), opening=_CEPH, always=False),
    ),
    secrets=("storage-admin",),
    held=("storage-admin",),
)
