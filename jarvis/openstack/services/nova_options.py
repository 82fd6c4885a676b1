"""What Nova's processes are told, and what an operator may set of them."""

from __future__ import annotations

from pydantic import Field

from jarvis.config.service import ProcessSettings, ServiceSettings
from jarvis.openstack.model import Context, Options, authority_file

# Seconds of silence after which Nova takes a process for lost, by its own default.
DOWN = 60
# Seconds that its workers have to end what they are at, by its own default (graceful_shutdown_timeout).
DRAIN = 180
# One worker in each pod, not one for each processor of the server: replicas are what there is more of.
CONDUCTOR: Options = {"conductor.workers": 1}
# New hosts are looked for by themselves, every so many seconds.
SCHEDULER: Options = {"scheduler.workers": 1, "scheduler.discover_hosts_in_cells_interval": 30}
# Seconds of silence of another service, beyond those that the gateway waits for it.
_SILENCE = {"placement": 70, "neutron": 70, "glance": 610}


class NovaSettings(ServiceSettings):
    """The compute service. Beyond its API it has processes of their own, each with settings of its own."""

    metadata: ServiceSettings = Field(default_factory=ServiceSettings)
    super_conductor: ProcessSettings = Field(default_factory=ProcessSettings)
    conductor: ProcessSettings = Field(default_factory=ProcessSettings)
    scheduler: ProcessSettings = Field(default_factory=ProcessSettings)
    archive_days: int = Field(
        default=30, ge=1, description="days after which what was deleted is moved out of the tables in use"
    )
    purge_days: int = Field(default=90, ge=1, description="days after which it is removed for good")


def options(context: Context[NovaSettings]) -> Options:
    """What all processes are told."""
    return {
        "DEFAULT.state_path": "/var/lib/nova",
        "DEFAULT.service_down_time": DOWN,
        "DEFAULT.graceful_shutdown_timeout": DRAIN,
        "oslo_concurrency.lock_path": "/tmp",
        "glance.cafile": authority_file("gateway"),
        "glance.region_name": context.env.openstack.region,
        **{f"{group}.timeout": seconds for group, seconds in _SILENCE.items()},
        # What hosts of the release before understand, while they are replaced one by one.
        "upgrade_levels.compute": "auto",
        "oslo_messaging_notifications.driver": ["messagingv2"],
        # There is no proxy to consoles yet.
        "vnc.enabled": False,
    }
