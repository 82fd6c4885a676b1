"""The role of servers with a member of the queue."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Range, Setting, Source

# Members connect to tools directly, on the ports that tools listen on while they run.
_MEMBERS = Opening(use="RabbitMQ members and tools", sources=("queue",))

ROLE = HostRole(
    name="queue",
    required=True,
    quorum=True,
    packages=("rabbitmq-server",),
    # https://www.rabbitmq.com/docs/networking; clients' port is moved to 5673, since every server has the
    # link's proxy on 5671.
    listens=(
        Listens(whose="the queue", ports=(5673,), opening=Opening(use="RabbitMQ", sources=(Source.SERVERS,))),
        Listens(whose="the queue", ports=(25672,), opening=_MEMBERS),
        Listens(whose="the queue", ports=(4369,), opening=_MEMBERS, always=False),
        Listens(whose="the queue's tools", ports=(Range(35672, 35682),), opening=_MEMBERS, always=False),
    ),
    memory=(Setting("queue", "memory_mib"),),
    secrets=("queue", "queue-cookie"),
    server_secrets=("queue",),
    held=("queue", "queue-cookie"),
)
