"""The role of servers with a member of etcd."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, User

ROLE = HostRole(
    name="etcd",
    required=True,
    quorum=True,
    users=(User(name="etcd", home="/var/lib/etcd"),),
    # https://etcd.io/docs/v3.6/op-guide/configuration/
    listens=(
        Listens(
            whose="etcd",
            ports=(2379,),
            opening=Opening(use="etcd clients", sources=("etcd", "control-plane")),
        ),
        Listens(whose="etcd", ports=(2380,), opening=Opening(use="etcd members", sources=("etcd",))),
        # Health and metrics.
        Listens(whose="etcd", ports=(2381,)),
    ),
    secrets=("etcd-authority",),
    server_secrets=("etcd",),
    held=("etcd-authority",),
)
