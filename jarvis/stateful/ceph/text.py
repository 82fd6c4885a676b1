"""Keys, keyrings, configuration and units of Ceph, as pure functions."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import uuid
from collections.abc import Mapping, Sequence

from jarvis.config.server import Osd
from jarvis.config.types import Option

PORT = 3300
CONFIG = "/etc/ceph"
ADMIN_KEYRING = f"{CONFIG}/ceph.client.admin.keyring"
MON_KEYRING = f"{CONFIG}/jarvis-mon.keyring"
STORES = "/var/lib/ceph"
TOOL = "/var/lib/jarvis/bin/ceph-member"
# The module that the tool imported before it was one file.
FORMER_MODULE = "/var/lib/jarvis/bin/ceph_disk.py"
# Path of a client's keyring in its pod, where librados looks by default.
CLIENT_KEYRING = CONFIG + "/ceph.client.{user}.keyring"

# Every connection is encrypted and authenticated; the other mode, crc, does neither.
# https://docs.ceph.com/en/pacific/rados/configuration/msgr2/#connection-mode-configuration-options
_CONNECTIONS = ("cluster", "service", "client", "mon_cluster", "mon_service", "mon_client")
_SECURE: dict[str, Option] = {
    **{f"ms_{kind}_mode": "secure" for kind in _CONNECTIONS},
    **{f"auth_{kind}_required": "cephx" for kind in ("cluster", "service", "client")},
}
# A monitor whose server lost its power closes no connection: it is pinged every second, and given up after
# four. The defaults are 10 and 30 s: https://docs.ceph.com/en/pacific/rados/configuration/mon-config-ref/
_MONITOR_LOSS: dict[str, Option] = {
    "mon_client_ping_interval": 1,
    "mon_client_ping_timeout": 4,
    "mon_client_hunt_interval": 1,
}
# Failover after the loss of a server, in seconds. The defaults (grace 20, lease 5, of which two are waited
# for, an election of 5, and reports of osds each 5) add up to half a minute without I/O. Monitors that lost
# one of them forget earlier failure reports at their election, and need new ones.
_SERVER_LOSS: dict[str, Option] = {
    "mon_lease": 1.5,
    "mon_election_timeout": 1.5,
    "osd_heartbeat_interval": 1,
    "osd_heartbeat_grace": 5,
    "osd_mon_report_interval": 1,
    # Otherwise each loss would delay the detection of the next one.
    "mon_osd_adjust_heartbeat_grace": False,
    "mon_mgr_beacon_grace": 15,
}
# Return of a server, in seconds. Placement groups do no I/O while they peer, and peering takes three changes
# of the map one after the other; monitors make one a second by default
# (https://ceph.io/geen-categorie/ceph-paxos-propose-interval/). Daemons that could not reach the server retry
# after up to 15 s by default (https://github.com/ceph/ceph-client/pull/22).
_SERVER_RETURN: dict[str, Option] = {
    "paxos_propose_interval": 0.2,
    "ms_max_backoff": 1,
}


def cephx_key(random: str) -> str:
    """The cephx key derived from random bytes.

    It is Ceph's CryptoKey, little-endian: type 1 (AES) as u16, creation time as two u32, length as u16, 16
    bytes. The time is 0 (unknown), so that the same bytes make the same key.

    Args:
        random: 16 bytes or more, in base64.

    Raises:
        ValueError: there are fewer bytes.
    """
    secret = base64.b64decode(random)[:16]
    if len(secret) < 16:
        raise ValueError("a cephx key is made of 16 random bytes or more")
    return base64.b64encode(struct.pack("<HIIH", 1, 0, 0, len(secret)) + secret).decode()


def fsid(random: str) -> str:
    """The UUID of a cluster, derived from ``random``. It is public, and tells nothing of ``random``."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"fsid {random}".encode()).digest()[:16], version=4))


def digest(content: str) -> str:
    """A digest that changes whenever ``content`` does."""
    return hashlib.sha256(content.encode()).hexdigest()


def keyring(entity: str, key: str, caps: Mapping[str, str]) -> str:
    """The keyring of one entity.

    Args:
        entity: its name, such as ``client.glance``.
        key: its cephx key.
        caps: capabilities by kind of daemon.
    """
    lines = [f"[{entity}]", f"\tkey = {key}"]
    lines += [f'\tcaps {service} = "{cap}"' for service, cap in caps.items()]
    return "\n".join(lines) + "\n"


ALL = {"mon": "allow *", "mgr": "allow *", "osd": "allow *", "mds": "allow *"}


def rbd_caps(pools: Sequence[str]) -> dict[str, str]:
    """Capabilities of a client that may use RBD images in ``pools`` and nothing else.

    https://docs.ceph.com/en/pacific/rados/operations/user-management/

    Raises:
        ValueError: there is no pool. The profile without a pool would be valid for all of them.
    """
    if not pools:
        raise ValueError("a client of RBD needs a pool")
    each = ", ".join(f"profile rbd pool={pool}" for pool in pools)
    return {"mon": "profile rbd", "osd": each, "mgr": each}


def _section(name: str, values: Mapping[str, Option]) -> str:
    lines = [f"[{name}]"]
    for key, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if "\n" in text or "\n" in key:
            raise ValueError(f"storage.options.{key}: a value is one line")
        lines.append(f"{key} = {text}")
    return "\n".join(lines) + "\n"


def client_conf(unique: str, mons: Mapping[str, str]) -> str:
    """The ceph.conf of a client.

    Args:
        unique: the cluster's fsid.
        mons: addresses of the monitors by server.
    """
    where = ",".join(f"[v2:{address}:{PORT}]" for address in mons.values())
    return _section("global", {"fsid": unique, "mon_host": where, **_SECURE, **_MONITOR_LOSS})


def server_conf(
    *,
    unique: str,
    name: str,
    mons: Mapping[str, str],
    copies: int,
    osd: Osd,
    memory_mib: int,
    options: Mapping[str, Option],
) -> str:
    """The ceph.conf of a server.

    Args:
        unique: the cluster's fsid.
        name: name of the server.
        mons: addresses of the monitors by server.
        copies: copies of each object.
        osd: disk of the server.
        memory_mib: memory target of the osd.
        options: the operator's options, which win.
    """
    address = mons[name]
    common: dict[str, Option] = {
        "mon_initial_members": ",".join(mons),
        "public_addr": address,
        "cluster_addr": address,
        # Version 1 of the protocol cannot encrypt.
        "ms_bind_msgr1": False,
        "auth_allow_insecure_global_id_reclaim": False,
        "osd_pool_default_size": copies,
        "osd_pool_default_min_size": least(copies),
        "mon_allow_pool_size_one": copies == 1,
        "mon_warn_on_pool_no_redundancy": copies > 1,
        "mon_osd_min_down_reporters": 1 if len(mons) < 3 else 2,
        **_SERVER_LOSS,
        **_SERVER_RETURN,
    }
    daemon: dict[str, Option] = {
        "log_to_file": False,
        "log_to_stderr": True,
        "err_to_stderr": True,
        "log_stderr_prefix": "",
    }
    disk: dict[str, Option] = {
        "osd_data": f"{STORES}/osd/jarvis",
        "osd_objectstore": "bluestore",
        "bluestore_block_path": osd.device or osd.path,
        "bluestore_block_size": 0 if osd.device else osd.size_gib * 2**30,
        "crush_location": f"root=default host={name}",
        "osd_memory_target": memory_mib * 2**20,
    }
    monitor = {
        **daemon,
        "mon_data": f"{STORES}/mon/jarvis",
        "mon_cluster_log_to_file": False,
        "mon_cluster_log_to_stderr": True,
    }
    return "\n".join(
        [
            "# Written by Jarvis; options belong into the environment, section storage.",
            client_conf(unique, mons) + _section("global", {**common, **options}).partition("\n")[2],
            _section("mon", monitor),
            _section("mgr", {**daemon, "mgr_data": f"{STORES}/mgr/jarvis"}),
            _section("osd", {**daemon, **disk}),
        ]
    )


def least(copies: int) -> int:
    """How many of ``copies`` must be there for I/O: what a lost server leaves, so two of three."""
    return max(1, copies - 1) if copies < 4 else copies // 2 + 1


def member_json(*, unique: str, name: str, mons: Mapping[str, str], copies: int, osd: Osd) -> str:
    """The configuration of ``jarvis.host.ceph.member`` on one server."""
    disk = {"device": osd.device} if osd.device else {"path": osd.path, "size_gib": osd.size_gib}
    told = {"name": name, "fsid": unique, "mons": dict(mons), "copies": copies, "osd": disk}
    return json.dumps(told, indent=1)


# For monitors and osds: I/O waits for them, and not for managers.
_FIRST = "# The kernel hands the processor to it before others.\nCPUWeight=500\n"


def unit(kind: str, description: str, command: str, *, store: str, done: str, extra: str = "") -> str:
    """The systemd unit of one daemon: Debian's own, but restarted for ever.

    Args:
        kind: kind of the daemon.
        description: for systemd.
        command: command line below /usr/bin.
        store: folder of the daemon's data.
        done: file in ``store`` without which the unit does not start.
        extra: further lines of the section [Service].
    """
    return f"""\
[Unit]
Description={description}
Documentation=https://docs.ceph.com/en/pacific/
After=network-online.target time-sync.target local-fs.target
Wants=network-online.target
ConditionPathExists={store}/{done}
# Until the other servers are back, the start of this one is tried again, for ever.
StartLimitIntervalSec=0

[Service]
{extra}ExecStart=/usr/bin/{command}
ExecReload=/bin/kill -HUP $MAINPID
User=ceph
Group=ceph
UMask=0077
Restart=always
RestartSec=1
# Out of memory takes others first.
OOMScoreAdjust=-900
LimitNOFILE=1048576
TasksMax=infinity
CapabilityBoundingSet=
LockPersonality=yes
NoNewPrivileges=yes
PrivateTmp=yes
ProtectClock={"no" if kind == "osd" else "yes"}
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectSystem=full
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def mon_unit(name: str) -> str:
    """The systemd unit of the monitor ``name``."""
    return unit(
        "mon",
        "Ceph monitor",
        f"ceph-mon -f --id {name}",
        store=f"{STORES}/mon/jarvis",
        done="done",
        extra=_FIRST,
    )


def mgr_unit(name: str) -> str:
    """The systemd unit of the manager ``name``."""
    return unit(
        "mgr", "Ceph manager", f"ceph-mgr -f --id {name}", store=f"{STORES}/mgr/jarvis", done="keyring"
    )


def osd_unit(osd: Osd) -> str:
    """The systemd unit of the osd on ``osd``. The monitors gave it its number when it was made."""
    store = f"{STORES}/osd/jarvis"
    # A boot resets the owner of a device. The link leads to the device that the osd was made on.
    own = f"+/bin/chown ceph:ceph {store}/block" if osd.device else f"{TOOL} osd grow"
    return unit(
        "osd",
        "Ceph object storage daemon",
        "ceph-osd -f --id ${OSD_ID}",
        store=store,
        done="mkfs_done",
        # The long timeout is for a file that grows, which is scanned first.
        extra=f"EnvironmentFile={store}/id.env\nExecStartPre={own}\nTimeoutStartSec=900\n{_FIRST}",
    )
