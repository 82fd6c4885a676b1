"""The role of servers with a member of the database."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Setting, Source

_GALERA = Opening(use="Galera", sources=("database",))

# The packages of MariaDB bring their users.
ROLE = HostRole(
    name="database",
    required=True,
    quorum=True,
    packages=("mariadb-server", "galera-4", "mariadb-backup"),
    # https://mariadb.com/docs/galera-cluster/reference/galera-cluster-ports; MariaDB itself is moved to 3307,
    # since every server has the link's proxy on 3306.
    listens=(
        Listens(
            whose="the database",
            ports=(3307, 3308),
            opening=Opening(use="MariaDB and its health", sources=(Source.SERVERS,)),
        ),
        Listens(whose="the database", ports=(3309, 4567), opening=_GALERA),
        # Only while a member receives what it missed.
        Listens(whose="the database", ports=(4444, 4568), opening=_GALERA, always=False),
    ),
    memory=(Setting("database", "buffer_pool_mib"),),
    secrets=("database",),
    server_secrets=("database",),
    held=("database",),
)
