"""What a service that is turned off keeps its data in, and how that goes for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jarvis.config import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.openstack.catalogue import CATALOGUE, enabled, retired
from jarvis.openstack.model import AnyService


@dataclass(frozen=True, kw_only=True)
class Data:
    """What holds the data of a service.

    Attributes:
        databases: names of its databases.
        vhosts: names of its virtual hosts of the queue.
        pools: names of its pools of the storage that no other service uses.
    """

    databases: Sequence[str]
    vhosts: Sequence[str]
    pools: Sequence[str]

    @property
    def told(self) -> str:
        """All of it, for people."""
        parts = (("database", self.databases), ("vhost", self.vhosts), ("pool", self.pools))
        return ", ".join(f"{kind} {name}" for kind, names in parts for name in names)


def data_name(service: AnyService) -> str:
    """By what name ``safety.may_remove`` has the data of ``service``."""
    return f"{service.name}-data"


def data_of(env: Environment, service: AnyService) -> Data:
    """What holds the data of ``service`` in ``env``, where it is off."""
    others = [one for one in (*enabled(env), *retired(env)) if one is not service]
    shared = {pool for one in others for use in one.ceph for pool in use.pools}
    own = dict.fromkeys(pool for use in service.ceph for pool in use.pools if pool not in shared)
    return Data(
        databases=[one.name for one in service.databases],
        vhosts=[one.name for one in service.queues],
        pools=list(own),
    )


def droppable(env: Environment) -> list[AnyService]:
    """The services whose data may go: they were off already before this run, and nothing of them runs."""
    return [one for one in retired(env) if one.name in env.before.off]


def check_data(env: Environment) -> None:
    """Holds the data that ``safety.may_remove`` names against the services that are there.

    Raises:
        ConfigurationError: a service is on, or is turned off by this very run, so that its pods still use it.
    """
    fine = droppable(env)
    for one in CATALOGUE:
        if data_name(one) in env.safety.may_remove and one not in fine and one.name in env.before.services:
            raise ConfigurationError(
                f"safety.may_remove: {data_name(one)} is in use: {one.title} is not off yet. Nothing has been"
                f" changed. Take {one.name} out of openstack.services first, `pulumi up`, and name its data"
                " in the next one (docs/operating.md, Turn a service on or off)"
            )
