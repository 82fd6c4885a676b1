"""The storage: a Ceph cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, ServerRole
from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.pki import RandomKey, RandomKeyArgs
from jarvis.remote import HostService, Target
from jarvis.stateful.ceph import text
from jarvis.stateful.ceph.member import CephIdentity, monitor_service, osd_service

if TYPE_CHECKING:
    from jarvis.hosts import Host


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """The servers of the storage.

    Attributes:
        hosts: servers with the role storage, an odd number, in the configuration's order.
        env: the environment.
    """

    hosts: Sequence[Host]
    env: Environment


class Storage(Component, token="ceph:Storage"):
    """A monitor, a manager and an osd on each server, changed one server after the other.

    No monitor waits for a quorum at its first start, and no osd starts before all monitors have been started.
    Later a daemon restarts only while the others can spare it, and the next one only when it is back.

    Attributes:
        fsid: UUID of the cluster.
        monitors: addresses of the monitors by server.
        copies: copies of each object.
        admin: server on which pools and clients are made.
        ready: resources after which pools and clients can be made.
    """

    fsid: pulumi.Output[str]
    monitors: dict[str, str]
    copies: int
    admin: Target
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        identity_kept = guard(
            name, f"the identity (fsid) of the {name}, without which its disks are of no use"
        )
        cluster = RandomKey(name, RandomKeyArgs(), self.child(protect=identity_kept))
        admin = RandomKey(
            f"{name}-admin", RandomKeyArgs(rotation=env.rotations.get(f"{name}-admin", 0)), self.child()
        )
        self.fsid = pulumi.Output.unsecret(cluster.value.apply(text.fsid))
        # Lost monitors included: the others would have to restart for a shorter list, when none can be
        # spared.
        self.monitors = {one.name: str(one.address) for one in env.declared(ServerRole.STORAGE)}
        self.copies = env.copies
        self.admin = args.hosts[0].target
        identity = CephIdentity(
            fsid=self.fsid,
            monitors=self.monitors,
            copies=self.copies,
            monitor_key=cluster.value.apply(text.cephx_key),
            admin_key=admin.value.apply(text.cephx_key),
            settings=env.storage,
            lost=[one.name for one in env.lost if ServerRole.STORAGE in one.roles],
        )
        last: list[pulumi.Resource] = []
        for host in args.hosts:
            last = [
                HostService(
                    f"{name}-{host.server.name}-mon",
                    "ceph-mon",
                    monitor_service(host, identity),
                    self.child(
                        depends_on=[host, *last],
                        protect=guard(
                            f"{name}-{host.server.name}-mon",
                            f"the monitor of the {name} on {host.server.name}",
                            host.server.name,
                        ),
                    ),
                )
            ]
        for host in args.hosts:
            last = [
                HostService(
                    f"{name}-{host.server.name}-osd",
                    "ceph-osd",
                    osd_service(host, identity),
                    self.child(
                        depends_on=last,
                        protect=guard(
                            f"{name}-{host.server.name}-osd",
                            f"the osd of the {name} on {host.server.name}, with its data",
                            host.server.name,
                        ),
                    ),
                )
            ]
        self.ready = last
        self.register_outputs({"fsid": self.fsid, "monitors": self.monitors})
