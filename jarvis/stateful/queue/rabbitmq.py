"""Configuration and definitions of RabbitMQ, as pure functions."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from jarvis.core.tls import OPENSSL_SUITES
from jarvis.pki.rotation import accepted

# Clients use the port of the link (jarvis.stateful.link); members listen beside its proxy.
PORT, MEMBER_PORT = 5671, 5673
DISTRIBUTION_PORT, MAPPER_PORT = 25672, 4369
CONFIG = "/etc/rabbitmq"
TLS_FOLDER = f"{CONFIG}/jarvis"
AUTHORITY, CERTIFICATE, KEY = (
    f"{TLS_FOLDER}/{name}" for name in ("authority.pem", "member.pem", "member.key")
)
FOLDER = "/var/lib/jarvis/queue"
DATA = "/var/lib/rabbitmq"
TOOL = "/var/lib/jarvis/bin/rabbitmq-member"
# Most bytes of a queue of notifications that nobody reads: some thousands of a few KiB each.
NOTIFICATION_BYTES = 16 * 1024**2

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# Erlang has the suites of TLS 1.3, the first three, in the same list.
_CIPHERS = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    *OPENSSL_SUITES,
)


def configuration(*, address: str, cluster: str, memory_mib: int) -> str:
    """The file rabbitmq.conf of one member.

    Args:
        address: address of the member.
        cluster: name of the cluster.
        memory_mib: memory use beyond which publishers have to wait.
    """
    lines = [
        "# Written by Jarvis.",
        f"cluster_name = {cluster}",
        "listeners.tcp = none",
        f"listeners.ssl.default = {address}:{MEMBER_PORT}",
        f"ssl_options.cacertfile = {AUTHORITY}",
        f"ssl_options.certfile = {CERTIFICATE}",
        f"ssl_options.keyfile = {KEY}",
        "# Clients are known by their account.",
        "ssl_options.verify = verify_none",
        "ssl_options.fail_if_no_peer_cert = false",
        "ssl_options.versions.1 = tlsv1.3",
        "ssl_options.versions.2 = tlsv1.2",
        *(f"ssl_options.ciphers.{at} = {cipher}" for at, cipher in enumerate(_CIPHERS, 1)),
        "# Of TLS 1.2: a client could have the server negotiate without an end.",
        "ssl_options.client_renegotiation = false",
        "# Whoever is not with a majority stops serving until it is.",
        "cluster_partition_handling = pause_minority",
        "# A member without data waits for the others for ever, rather than begin a cluster of its own.",
        "cluster_formation.discovery_retry_limit = 1000000",
        "cluster_formation.discovery_retry_interval = 1000",
        "# After a loss of power a member waits for the one that was stopped last, however long.",
        "mnesia_table_loading_retry_timeout = 30000",
        "mnesia_table_loading_retry_limit = 1000000",
        "# What is not yet in a queue's segments is held in memory too: 512 MiB unless said otherwise.",
        f"raft.wal_max_size_bytes = {64 * 1024**2}",
        f"vm_memory_high_watermark.absolute = {memory_mib}MiB",
        "disk_free_limit.absolute = 1GiB",
        "log.console = true",
        "log.console.level = info",
        "log.file = false",
    ]
    return "\n".join(lines) + "\n"


def environment(*, server: str, address: str, patience: int = 1) -> str:
    """The file rabbitmq-env.conf of one member, in shell: mutual TLS between nodes, and for their tools.

    Args:
        server: name of the server.
        address: address of the member.
        patience: factor for the time that nodes may take to connect (kernel(6), net_setuptime: 7 s by
            default, 120 s at most) and may be silent.
    """
    octets = ",".join(address.split("."))
    tls = (
        f"-pa $ERL_SSL_PATH -proto_dist inet_tls -ssl_dist_optfile {CONFIG}/distribution.config"
        f" -kernel inet_dist_use_interface {{{octets}}}"
    )
    if patience > 1:
        tls += f" -kernel net_setuptime {min(7 * patience, 120)}"
    return "\n".join(
        (
            "# Written by Jarvis.",
            "ERL_SSL_PATH=$(echo /usr/lib/erlang/lib/ssl-*/ebin)",
            f"NODENAME=rabbit@{server}",
            f"DIST_PORT={DISTRIBUTION_PORT}",
            # A folder with files only while a member starts for the first time: see rabbitmq.sh.
            f'RABBITMQ_CONFIG_FILES="{DATA}/formation/*.conf"',
            # Erlang's schedulers must not spin, since they share cores with everything else on the server
            # (erl(1), +sbwt).
            f'SERVER_ADDITIONAL_ERL_ARGS="{tls}'
            # A lost leader of a queue is noticed by a poll each second, not every five (aten, poll_interval).
            # Nodes give each other up after 7.5 to 12.5 s of silence (kernel(6), net_ticktime), not 45 to 75.
            f" -aten poll_interval 1000 -kernel net_ticktime {10 * patience}"
            ' +S 2:2 +SDio 8 +sbwt none +sbwtdcpu none +sbwtdio none"',
            f'CTL_ERL_ARGS="{tls} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"',
            "",
        )
    )


def distribution() -> str:
    """The options of TLS between nodes, as Erlang terms (ssl, "Using TLS for Erlang Distribution").

    Both sides show a certificate, and the connecting side checks the other's name.
    """
    files = f'{{cacertfile, "{AUTHORITY}"}}, {{certfile, "{CERTIFICATE}"}}, {{keyfile, "{KEY}"}}'
    ciphers = ", ".join(f'"{cipher}"' for cipher in _CIPHERS)
    common = (
        f"{files}, {{verify, verify_peer}}, {{versions, ['tlsv1.3', 'tlsv1.2']}}, {{ciphers, [{ciphers}]}}"
    )
    return f"[{{server, [{common}, {{fail_if_no_peer_cert, true}}]}},\n {{client, [{common}]}}].\n"


def mapper_socket(address: str) -> str:
    """The drop-in of Debian's epmd.socket, by which Erlang's port mapper listens to servers only."""
    return (
        "[Socket]\nListenStream=\n"
        f"ListenStream=127.0.0.1:{MAPPER_PORT}\nListenStream={address}:{MAPPER_PORT}\nFreeBind=yes\n"
    )


def users(service: str, rotation: int) -> dict[int, str]:
    """The users of ``service`` that are valid at ``rotation``, by their password's rotation, current first.

    Two users take turns: while clients change from one to the other, neither is refused.
    """
    return {number: f"{service}-{'ab'[number % 2]}" for number in accepted(rotation)}


def definitions(
    *, service: str, passwords: Mapping[str, str], reaches: Sequence[str] = (), notified: bool = False
) -> str:
    """The definitions of a vhost and its users, which RabbitMQ imports idempotently.

    A user has all rights in the vhost and in those that it ``reaches``, and none elsewhere. A queue that is
    declared there without a type becomes a quorum queue where it can: a durable one that is not exclusive.

    Args:
        service: name of the vhost.
        passwords: passwords by user.
        reaches: further vhosts, which are there.
        notified: whether notifications are published in the vhost. Where nobody reads them, the oldest beyond
            ``NOTIFICATION_BYTES`` are dropped.

    Raises:
        ValueError: a name is not of lower-case letters, digits, ``_`` and ``-``.
    """
    for name in (service, *passwords, *reaches):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of 1 to 32 lower-case letters, digits, _ and -")
    return json.dumps(
        {
            "vhosts": [{"name": service, "default_queue_type": "quorum", "metadata": _metadata(service)}],
            "users": [
                {
                    "name": user,
                    "password_hash": password_hash(password),
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                    "tags": [],
                    "limits": {},
                }
                for user, password in passwords.items()
            ],
            "permissions": [
                {"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
                for user in passwords
                for vhost in (service, *reaches)
            ],
            **({"policies": [_notifications(service)]} if notified else {}),
        },
        indent=1,
    )


def _notifications(vhost: str) -> dict[str, object]:
    """The policy of the queues of notifications (oslo.messaging's topics, and Nova's versioned ones)."""
    return {
        "vhost": vhost,
        "name": "notifications",
        "pattern": r"^(versioned_)?notifications\.",
        "apply-to": "queues",
        "definition": {"max-length-bytes": NOTIFICATION_BYTES, "overflow": "drop-head"},
        "priority": 0,
    }


def _metadata(service: str) -> dict[str, object]:
    return {"description": f"of {service}", "tags": [], "default_queue_type": "quorum"}


def password_hash(password: str) -> str:
    """RabbitMQ's hash of ``password``: salt, and SHA-256 of salt and password, in base64.

    The salt is derived from the password, which is random and used once: the same password always has the
    same hash.
    """
    salt = hashlib.sha256(f"salt of {password}".encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def transport_url(*, user: str, password: str, host: str, vhost: str) -> str:
    """The URL by which oslo.messaging reaches ``vhost`` through the link.

    TLS is asked for beside it, by ``oslo_messaging_rabbit.ssl``.
    """
    return f"rabbit://{user}:{password}@{host}:{PORT}/{vhost}"
