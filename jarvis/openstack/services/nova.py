"""Nova, the compute service: what decides where servers run, and tells the hosts."""

from __future__ import annotations

from jarvis.openstack.model import (
    Database,
    KeystoneUse,
    Memory,
    Migration,
    Queue,
    Schedule,
    ServiceDefinition,
    Web,
    Worker,
)
from jarvis.openstack.services.nova_options import CONDUCTOR, DOWN, DRAIN, SCHEDULER, NovaSettings, options

# What is of all cells, and what is of the one cell that has hosts. Where a cell is, Nova knows by a template,
# which each process fills in with its own account: so the account of the first reaches the second
# (docs/decisions/055-nova.md).
_API, _CELL0, _CELL1 = "nova_api", "nova_cell0", "nova_cell1"
_QUEUE, _QUEUE1 = "nova", "nova-cell1"
_ABOVE, _WITHIN = [_API, _CELL0], [_API, _CELL1]
# By this name Nova knows the process, in each cell: the same after a roll-out, and another on each server.
_HOST = {"DEFAULT.host": "$(SERVER_NAME)"}
# A process of its API has 167 MB before its first request.
_MEMORY = Memory(process=224)
# Programs of its image beside nova-manage (images/openstack).
_PROBE, _CELLS = (["python3", "-I", "-m", name] for name in ("working", "nova_cells"))


def _schema(cell: str, *within: str) -> Migration:
    """The migration of a cell's own database; ``within`` leads to another one than the process has."""
    return Migration(
        name=cell,
        expand=[*within, "nova-manage", "db", "sync", "--local_cell"],
        fill=[*within, "nova-manage", "db", "online_data_migrations"],
    )


NOVA = ServiceDefinition(
    name="nova",
    title="Nova",
    what="the compute service",
    settings=NovaSettings,
    user=42430,
    processes={
        "api": Web(
            module="nova.wsgi.osapi_compute:application",
            port=8774,
            host="compute",
            health="/",
            # A host that is asked has 60 s to answer (rpc_response_timeout).
            patience=120,
            databases=_ABOVE,
            queues=[_QUEUE],
            addressed=_HOST,
            memory=_MEMORY,
        ),
        # Servers ask it through Neutron's agents alone, which prove themselves by the shared secret.
        "metadata": Web(
            module="nova.wsgi.metadata:application",
            port=8775,
            health="/",
            databases=_ABOVE,
            queues=[_QUEUE],
            options={"neutron.service_metadata_proxy": True},
            addressed=_HOST,
            memory=_MEMORY,
            shared={"neutron.metadata_proxy_shared_secret": "metadata-proxy"},
        ),
        **{
            name: Worker(
                command=[command],
                probe=_PROBE,
                period=DOWN // 3,
                drain=DRAIN,
                databases=databases,
                queues=[queue],
                options=told,
                addressed=_HOST,
            )
            for name, command, told, databases, queue in (
                ("super-conductor", "nova-conductor", CONDUCTOR, _ABOVE, _QUEUE),
                # The cell's own, which reads in the API's database what a server asked for, to move it.
                ("conductor", "nova-conductor", CONDUCTOR, _WITHIN, _QUEUE1),
                ("scheduler", "nova-scheduler", SCHEDULER, _ABOVE, _QUEUE),
            )
        },
    },
    databases=[
        Database(name=_API, option="api_database.connection"),
        Database(name=_CELL0, reaches=[_CELL1]),
        Database(name=_CELL1),
    ],
    queues=[Queue(name=_QUEUE, reaches=[_QUEUE1], notified=True), Queue(name=_QUEUE1, notified=True)],
    keystone=KeystoneUse(
        kind="compute", path="/v2.1", logins=["keystone_authtoken", "service_user", "placement", "neutron"]
    ),
    migrations=[
        Migration(expand=["nova-manage", "api_db", "sync"]),
        Migration(name="cells", expand=[*_CELLS, "map", _CELL0, _CELL1, _QUEUE1]),
        _schema("cell0"),
        _schema("cell1", *_CELLS, "within", _CELL1),
    ],
    schedules={
        "tidy": Schedule(
            at="40 3 * * *",
            command=lambda settings: [
                *(*_CELLS, "tidy"),
                *(str(settings.archive_days), str(settings.purge_days)),
            ],
        )
    },
    needs=["keystone", "glance", "placement"],
    options=options,
)
