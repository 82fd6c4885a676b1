"""Placement, which counts what servers can spare."""

from __future__ import annotations

from jarvis.config.service import ServiceSettings
from jarvis.openstack.model import Context, Database, KeystoneUse, Migration, Options, ServiceDefinition, Web


class PlacementSettings(ServiceSettings):
    """The service that counts what servers can spare."""


def _options(context: Context[PlacementSettings]) -> Options:
    return {}


PLACEMENT = ServiceDefinition(
    name="placement",
    title="Placement",
    what="what servers can spare",
    settings=PlacementSettings,
    user=42429,
    processes={
        "api": Web(
            module="placement.wsgi.api:application",
            port=8778,
            host="placement",
            # It has no healthcheck; its versions are there for everybody.
            health="/",
        )
    },
    databases=[Database(name="placement", option="placement_database.connection")],
    keystone=KeystoneUse(kind="placement"),
    migrations=[
        Migration(
            expand=["placement-manage", "db", "sync"],
            fill=["placement-manage", "db", "online_data_migrations"],
        )
    ],
    needs=["keystone"],
    options=_options,
)
