"""The role of servers with a registry of images."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Setting, Source, User

ROLE = HostRole(
    name="registry",
    required=True,
    users=(User(name="registry", home="/var/lib/registry"),),
    listens=(
        Listens(
            whose="the registry",
            ports=(Setting("registry", "port"),),
            # Operators push.
            opening=Opening(use="registry", sources=(Source.SERVERS, Source.OPERATORS)),
        ),
    ),
    secrets=("registry-authority", "registry-client", "registry-pusher"),
    server_secrets=("registry",),
    held=("registry-authority",),
)
