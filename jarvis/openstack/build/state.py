"""What a service has in the database and in the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi

from jarvis.core.component import Component
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.model import AnyService, Process, authority_file
from jarvis.stateful import (
    Account,
    AccountArgs,
    Grant,
    GrantArgs,
    QueueAccount,
    QueueAccountArgs,
    Schema,
    SchemaArgs,
)
from jarvis.stateful.database.mariadb import database_url


@dataclass(frozen=True, kw_only=True)
class State:
    """The databases and virtual hosts of a service.

    Attributes:
        service: the service.
        accounts: in the database, by the database's name; each sees that one database.
        grants: likewise; after them the account may use its database, and those that it reaches.
        queues: by the virtual host's name.
    """

    service: AnyService
    accounts: Mapping[str, Account]
    grants: Mapping[str, Sequence[Grant]]
    queues: Mapping[str, QueueAccount]

    def secrets(self, process: Process[Any], platform: Platform) -> dict[str, pulumi.Output[str]]:
        """The URLs that ``process`` is told, by ``group.option``."""
        found = {
            one.option: self.accounts[one.name].password.apply(
                partial(_url, one.name, platform.database.host)
            )
            for one in self.service.databases_of(process)
        }
        return found | {one.option: self.queues[one.name].url for one in self.service.queues_of(process)}

    def key(self, process: Process[Any]) -> pulumi.Output[str]:
        """A generated secret that ``process`` knows; empty where it knows none."""
        known = [self.accounts[one.name].password for one in self.service.databases_of(process)]
        known += [self.queues[one.name].url for one in self.service.queues_of(process)]
        return known[0] if known else pulumi.Output.from_input("")


def _url(name: str, host: str, password: str) -> str:
    return database_url(
        user=name, password=password, host=host, database=name, authority=authority_file("database")
    )


def make_state(owner: Component, service: AnyService, platform: Platform) -> State:
    """Makes the databases and virtual hosts of ``service`` as children of ``owner``."""
    env, database = platform.env, platform.database
    accounts: dict[str, Account] = {}
    grants: dict[str, list[Grant]] = {}
    schemas = {
        one.name: Schema(
            f"{one.resource}-schema", SchemaArgs(database=database, schema=one.name), owner.child()
        )
        for one in service.databases
    }
    for one in service.databases:
        counter = f"{one.resource}-database"
        accounts[one.name] = Account(
            counter,
            AccountArgs(database=database, user=one.name, rotation=env.rotations.get(counter, 0)),
            owner.child(),
        )
        grants[one.name] = [
            Grant(name, GrantArgs(account=accounts[one.name], schema=schemas[schema]), owner.child())
            for name, schema in (
                (f"{one.resource}-grant", one.name),
                *((f"{one.resource}-{each.replace('_', '-')}-grant", each) for each in one.reaches),
            )
        ]
    queues: dict[str, QueueAccount] = {}
    # Those that others reach come first.
    for queue in sorted(service.queues, key=lambda each: bool(each.reaches)):
        queues[queue.name] = QueueAccount(
            f"{queue.name}-queue",
            QueueAccountArgs(
                queue=platform.queue,
                service=queue.name,
                rotation=env.rotations.get(f"{queue.name}-queue", 0),
                reaches=[queues[each] for each in queue.reaches],
                notified=queue.notified,
            ),
            owner.child(),
        )
    return State(service=service, accounts=accounts, grants=grants, queues=queues)
