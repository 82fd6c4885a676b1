"""What one server of the storage runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config.platform import Storage
from jarvis.remote import File, HostServiceArgs
from jarvis.remote.program import program
from jarvis.stateful.ceph import text

if TYPE_CHECKING:
    from jarvis.hosts import Host

# Placement groups are whole again seconds after a restart, but for a server that was away for long.
_TIMEOUT = 300


@dataclass(frozen=True, kw_only=True)
class CephIdentity:
    """What all servers of one cluster have in common; see ``Storage``. The keys are cephx keys, secret.
    ``lost``: servers that are gone for good, whose monitors and osds the others forget."""

    fsid: pulumi.Output[str]
    monitors: Mapping[str, str]
    copies: int
    monitor_key: pulumi.Output[str]
    admin_key: pulumi.Output[str]
    settings: Storage
    lost: Sequence[str] = ()


def monitor_service(host: Host, identity: CephIdentity) -> HostServiceArgs:
    """The role ceph-mon of ``host``: its monitor, and what every part of Ceph there is told."""
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
        # Before, since the gate asks with the new key; after, where this monitor was not running before.
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
    """The role ceph-osd of ``host``: its manager and its osd, with keys that never leave the server."""
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
        # The disk itself is wiped, or its file removed, by `osd leave`, which looks whose it is.
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
