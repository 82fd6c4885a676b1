"""The host roles of one storage server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config.platform import StorageSettings
from jarvis.remote import File, HostServiceArgs
from jarvis.remote.program import program
from jarvis.stateful.ceph import text

if TYPE_CHECKING:
    from jarvis.hosts import Host

# Seconds. Placement groups recover within seconds of a restart, but not after a server was away for long.
_TIMEOUT = 300


@dataclass(frozen=True, kw_only=True)
class CephIdentity:
    """What the servers of one cluster share.

    Attributes:
        fsid: UUID of the cluster.
        monitors: addresses of the monitors by server.
        copies: copies of each object.
        monitor_key: cephx key of the monitors, secret.
        admin_key: cephx key of ``client.admin``, secret.
        settings: the environment's options.
        lost: servers whose monitors and osds the others remove.
    """

    fsid: pulumi.Output[str]
    monitors: Mapping[str, str]
    copies: int
    monitor_key: pulumi.Output[str]
    admin_key: pulumi.Output[str]
    settings: StorageSettings
    lost: Sequence[str] = ()


def monitor_service(host: Host, identity: CephIdentity) -> HostServiceArgs:
    """The host role ``ceph-mon``: the monitor of ``host``, and the configuration of every daemon there."""
    name = host.server.name
    admin = identity.admin_key.apply(lambda key: text.keyring("client.admin", key, text.ALL))
    monitor = identity.monitor_key.apply(lambda key: text.keyring("mon.", key, {"mon": "allow *"}))
    told = identity.fsid.apply(
        lambda unique: text.member_json(
            unique=unique,
            name=name,
            mons=identity.monitors,
            copies=identity.copies,
            osd=host.server.osd,
        )
    )
    return HostServiceArgs(
        target=host.target,
        files=[
            File(path=text.TOOL, content=program("ceph"), mode="0755"),
            File(path=f"{text.CONFIG}/jarvis.json", content=told),
            File(path=f"{text.CONFIG}/ceph.conf", content=configuration(host, identity)),
            File(path="/etc/systemd/system/jarvis-ceph-mon.service", content=text.mon_unit(name)),
        ],
        secret_files=[
            File(path=text.ADMIN_KEYRING, content=admin, mode="0600"),
            File(
                path=text.MON_KEYRING,
                content=pulumi.Output.all(monitor, admin).apply("".join),
                mode="0600",
                owner="ceph:ceph",
            ),
        ],
        # In `before`, since the gate uses the new key; in `after` too, for a monitor that was not running
        # before.
        before=[f"{text.TOOL} mon make", f"{text.TOOL} mon admin"],
        after=[f"{text.TOOL} mon admin"],
        units=["jarvis-ceph-mon.service"],
        gate=f"{text.TOOL} mon gate",
        ready=f"{text.TOOL} mon ready",
        timeout=_TIMEOUT,
        undo=[f"{text.TOOL} mon leave"],
        purge=[f"{text.STORES}/mon/jarvis"],
        beside=[text.TOOL, text.FORMER_MODULE],
    )


def osd_service(host: Host, identity: CephIdentity) -> HostServiceArgs:
    """The host role ``ceph-osd``: manager and osd of ``host``, whose keys never leave the server."""
    osd = host.server.osd
    return HostServiceArgs(
        target=host.target,
        files=[
            File(path="/etc/systemd/system/jarvis-ceph-mgr.service", content=text.mgr_unit(host.server.name)),
            File(path="/etc/systemd/system/jarvis-ceph-osd.service", content=text.osd_unit(osd)),
        ],
        inputs=[configuration(host, identity).apply(text.digest)],
        before=[f"{text.TOOL} mgr make", f"{text.TOOL} osd make"],
        units=["jarvis-ceph-mgr.service", "jarvis-ceph-osd.service"],
        gate=f"{text.TOOL} osd gate",
        ready=f"{text.TOOL} osd ready",
        timeout=_TIMEOUT,
        after=[f"{text.TOOL} drop {name}" for name in identity.lost],
        undo=[f"{text.TOOL} osd leave"],
        # `osd leave` wipes the disk itself, or removes its file, once it has seen whose it is.
        purge=[f"{text.STORES}/mgr/jarvis", f"{text.STORES}/osd/jarvis"],
    )


def configuration(host: Host, identity: CephIdentity) -> pulumi.Output[str]:
    """The text of ceph.conf on ``host``."""
    return identity.fsid.apply(
        lambda unique: text.server_conf(
            unique=unique,
            name=host.server.name,
            mons=identity.monitors,
            copies=identity.copies,
            osd=host.server.osd,
            memory_mib=identity.settings.osd_memory_mib,
            options=identity.settings.options,
        )
    )
