"""Flags and units of etcd, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from jarvis.config.types import Option
from jarvis.core.tls import CIPHER_SUITES

TOOL = "/var/lib/jarvis/bin/etcd-member"
CONFIG = "/etc/etcd"
DATA = "/var/lib/etcd"
CERTIFICATE = f"{CONFIG}/member.crt"
KEY = f"{CONFIG}/member.key"
AUTHORITY = f"{CONFIG}/authority.crt"
# The common name of every member's certificate. Clients of the same authority have other names, and so cannot
# pose as a peer.
MEMBER_NAME = "etcd-member"


def client_url(address: str) -> str:
    """URL at which the member at ``address`` serves clients."""
    return f"https://{address}:2379"


def peer_url(address: str) -> str:
    """URL at which the member at ``address`` serves the other members."""
    return f"https://{address}:2380"


def flags(name: str, address: str, extra: Mapping[str, Option]) -> dict[str, str]:
    """The flags of the member ``name`` at ``address``; those of ``extra`` win."""
    values: dict[str, Option] = {
        "name": name,
        "data-dir": DATA,
        "listen-client-urls": f"{client_url(address)},{client_url('127.0.0.1')}",
        "advertise-client-urls": client_url(address),
        "listen-peer-urls": peer_url(address),
        "initial-advertise-peer-urls": peer_url(address),
        "initial-cluster-token": "jarvis",
        # Health and metrics without a certificate, on this server only.
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "client-cert-auth": True,
        "trusted-ca-file": AUTHORITY,
        "cert-file": CERTIFICATE,
        "key-file": KEY,
        "peer-client-cert-auth": True,
        "peer-trusted-ca-file": AUTHORITY,
        "peer-cert-file": CERTIFICATE,
        "peer-key-file": KEY,
        "peer-cert-allowed-cn": MEMBER_NAME,
        "tls-min-version": "TLS1.2",
        "cipher-suites": ",".join(CIPHER_SUITES),
        "enable-grpc-gateway": False,
        # The default is 2 GiB, and at most 8 are advised (https://etcd.io/docs/v3.6/op-guide/maintenance/).
        # Half of that fits the smallest disk that preflight accepts.
        "quota-backend-bytes": 4 * 1024**3,
        # For times without an API server, which otherwise compacts every five minutes.
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "8h",
        # https://etcd.io/docs/v3.6/op-guide/data_corruption/
        "feature-gates": "InitialCorruptCheck=true,CompactHashCheck=true",
        "logger": "zap",
        "log-outputs": "stderr",
    }
    values.update(extra)
    return {key: _word(value) for key, value in values.items()}


def _word(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def service(values: Mapping[str, str]) -> str:
    """The systemd unit that runs etcd with the flags ``values``."""
    command = " \\\n".join(["/usr/bin/etcd", *(f"  --{key}={value}" for key, value in values.items())])
    return f"""\
[Unit]
Description=etcd
Documentation=https://etcd.io/docs/
After=network-online.target
Wants=network-online.target
# Until the other servers are back, the start of this one is tried again, for ever.
StartLimitIntervalSec=0

[Service]
# Started means that it serves requests: there is a quorum.
Type=notify
TimeoutStartSec=infinity
User=etcd
Group=etcd
# What the first start needs: whether it joins, and whom. etcd ignores it once there is data.
EnvironmentFile=-{CONFIG}/join.env
ExecStart={command}
Restart=always
RestartSec=2
StateDirectory=etcd
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
OOMScoreAdjust=-900
CPUWeight=1000
IOWeight=1000
IOSchedulingClass=best-effort
IOSchedulingPriority=0
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
"""


def defrag_service() -> str:
    """The systemd unit that defragments the database, which gives unused space back."""
    return f"""\
[Unit]
Description=Give back unused space of etcd's database
After=etcd.service
Requisite=etcd.service

[Service]
Type=oneshot
ExecStart={TOOL} defrag
"""


def defrag_timer(index: int) -> str:
    """The systemd timer of the defragmentation, nightly.

    A member does not serve meanwhile, so each member has an hour of its own.

    Args:
        index: the member's place among all, from 0.
    """
    return f"""\
[Unit]
Description=Look every night whether etcd's database has unused space

[Timer]
OnCalendar=*-*-* {index % 6:02}:17:00

[Install]
WantedBy=timers.target
"""


def client_environment(address: str) -> str:
    """The environment of etcdctl on the server at ``address``, as lines for a shell.

    Use: ``set -a; . /etc/etcd/etcdctl.env; set +a``.
    """
    return (
        f"ETCDCTL_ENDPOINTS={client_url(address)}\n"
        f"ETCDCTL_CACERT={AUTHORITY}\nETCDCTL_CERT={CERTIFICATE}\nETCDCTL_KEY={KEY}\n"
    )
