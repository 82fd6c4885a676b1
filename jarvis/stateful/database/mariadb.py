"""MariaDB's option file and statements, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jarvis.config.types import Option
from jarvis.core.tls import OPENSSL_CIPHERS

# Clients know the port of the link (jarvis.stateful.link); members listen beside its proxy.
PORT, MEMBER_PORT, HEALTH_PORT = 3306, 3307, 3308
TLS_FOLDER = "/etc/mysql/jarvis"
SQL_FOLDER = "/var/lib/jarvis/database"
# Debian's package fills /var/lib/mysql with a database of its own as soon as it is installed.
DATA = "/var/lib/mariadb"
# What a member remembers beside its data (jarvis.host.database.member).
STATE = "/var/lib/jarvis-database"

# All text is UTF-8 whole. The collation is the one that the three-byte utf8 has had, for four bytes: no two
# values become equal that were not, and so no unique index stands in the way of a table that is carried over.
CHARSET, COLLATION = "utf8mb4", "utf8mb4_general_ci"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OPTION = re.compile(r"[a-z][a-z0-9_-]*")

# Each acknowledged transaction is on the disk (the MariaDB manual, "innodb_flush_log_at_trx_commit" and
# "sync_binlog"): anything weaker has lost acknowledged writes of OpenStack at a loss of power. Row format and
# interleaved auto-increment are what Galera asks for.
# https://mariadb.com/docs/galera-cluster/galera-management/configuration/configuring-mariadb-galera-cluster
_DURABLE: dict[str, Option] = {
    "innodb_flush_log_at_trx_commit": 1,
    "sync_binlog": 1,
    "innodb_doublewrite": 1,
    "innodb_autoinc_lock_mode": 2,
    "binlog_format": "ROW",
    "default_storage_engine": "InnoDB",
    # With Galera only SUPER may create a trigger otherwise, which services' migrations do. Replication by
    # rows carries what a trigger did, whatever it does.
    # https://mariadb.com/docs/server/server-usage/stored-routines/binary-logging-of-stored-routines
    "log_bin_trust_function_creators": 1,
    "sql_mode": "TRADITIONAL",
    "character_set_server": CHARSET,
    "collation_server": COLLATION,
    # By default it has UTF8_IS_UTF8MB3: services' migrations say `utf8`, and mean all of it.
    # https://mariadb.com/docs/server/server-management/variables-and-modes/old_mode
    "old_mode": "",
}


# How Galera's members know each other, encrypt, and give a silent one up: after 5 s, its default, which is
# how long no transaction commits when a server loses its power. Less takes a busy machine for a lost one.
# https://galeracluster.com/library/documentation/galera-parameters.html
_GALERA = {
    "socket.ssl": "yes",
    "socket.ssl_ca": f"{TLS_FOLDER}/authority.pem",
    "socket.ssl_cert": f"{TLS_FOLDER}/server.pem",
    "socket.ssl_key": f"{TLS_FOLDER}/server.key",
    "socket.ssl_cipher": OPENSSL_CIPHERS,
    # What a member missed while its server was restarted comes from here, and not as a whole copy.
    "gcache.size": "256M",
    # Who may begin the cluster again is decided before MariaDB starts (jarvis.host.database).
    "pc.recovery": "no",
    "evs.keepalive_period": "PT0.5S",
    "evs.inactive_check_period": "PT0.5S",
    "evs.suspect_timeout": "PT5S",
    "evs.inactive_timeout": "PT12S",
    "evs.install_timeout": "PT8S",
}


def option_file(
    *,
    name: str,
    cluster: str,
    addresses: Mapping[str, str],
    buffer_pool_mib: int,
    options: Mapping[str, Option],
    patience: int = 1,
) -> str:
    """The text of the option file for the member ``name`` of ``cluster``, which listens on its one of the
    ``addresses`` and on the local socket.

    ``options`` are the operator's and win over the ones set here, but for TLS and addresses.
    ``patience``: how many times as long as on a usual server a client may take to log in.

    Raises ``ValueError`` for an option of another form than a name, or a value of several lines.
    """
    address = addresses[name]
    settings: dict[str, Option] = {
        **_DURABLE,
        "innodb_buffer_pool_size": f"{buffer_pool_mib}M",
        # Every process of every service keeps a few connections, and pods are doubled during an update.
        "max_connections": 1000,
        "skip_name_resolve": 1,
        "performance_schema": 0,
        # Ten seconds are its own (Server System Variables, connect_timeout).
        **({"connect_timeout": 10 * patience} if patience > 1 else {}),
        **{_checked(option): value for option, value in options.items()},
        "datadir": DATA,
        "bind_address": address,
        "port": MEMBER_PORT,
        "require_secure_transport": 1,
        "tls_version": "TLSv1.2,TLSv1.3",
        "ssl_cipher": OPENSSL_CIPHERS,
        "ssl_ca": f"{TLS_FOLDER}/authority.pem",
        "ssl_cert": f"{TLS_FOLDER}/server.pem",
        "ssl_key": f"{TLS_FOLDER}/server.key",
        "wsrep_on": "ON",
        "wsrep_provider": "/usr/lib/galera/libgalera_smm.so",
        "wsrep_cluster_name": cluster,
        "wsrep_cluster_address": f"gcomm://{','.join(addresses.values())}",
        "wsrep_node_name": name,
        "wsrep_node_address": address,
        "wsrep_sst_method": "mariabackup",
        # The donor comes through the local socket as the system's user mysql: there is no password.
        "wsrep_sst_auth": "mysql:",
        "wsrep_provider_options": f'"{";".join(f"{key}={value}" for key, value in _GALERA.items())}"',
    }
    lines = []
    for option, value in settings.items():
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if "\n" in text:
            raise ValueError(f"database.options.{option}: a value is one line")
        lines.append(f"{option} = {text}")
    # A whole copy goes from member to member by TLS, both ends verified (mode 4 of wsrep_sst_mariabackup).
    lines += ["[sst]", "encrypt = 4"]
    return "# Written by Jarvis; options belong into the environment, section database.\n[mariadbd]\n" + (
        "\n".join(lines) + "\n"
    )


def _checked(name: str) -> str:
    if not _OPTION.fullmatch(name):
        raise ValueError(f"database.options: {name!r} is not the name of an option of MariaDB")
    return name.replace("-", "_")


def check_names(*names: str) -> None:
    """Raises ``ValueError`` for a name that is not of 1 to 32 lower-case letters, digits and ``_``."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of 1 to 32 lower-case letters, digits and _")


def schema_statements(*, database: str) -> str:
    """The statements that make ``database``, whose new tables have ``CHARSET``; any number of times.

    Raises ``ValueError`` for a name that is not of lower-case letters, digits and ``_``.
    """
    check_names(database)
    text = f"CHARACTER SET {CHARSET} COLLATE {COLLATION}"
    return f"CREATE DATABASE IF NOT EXISTS `{database}` {text};\nALTER DATABASE `{database}` {text};\n"


def grant_statements(*, database: str, user: str) -> str:
    """The statement that gives ``user`` all rights on ``database``; any number of times.

    Raises ``ValueError`` for a name that is not of lower-case letters, digits and ``_``.
    """
    check_names(database, user)
    return f"GRANT ALL PRIVILEGES ON `{database}`.* TO '{user}'@'%';\n"


def revoke_statements(*, database: str, user: str) -> str:
    """What takes back what ``grant_statements`` gave, and does nothing where there is nothing to take back.

    Raises ``ValueError`` for a name that is not of lower-case letters, digits and ``_``.
    """
    check_names(database, user)
    # REVOKE knows no IF EXISTS; 1141 is its error for a grant, or a user, that is not there.
    return (
        "DELIMITER //\n"
        "BEGIN NOT ATOMIC\n"
        "  DECLARE CONTINUE HANDLER FOR 1141 BEGIN END;\n"
        f"  REVOKE ALL PRIVILEGES ON `{database}`.* FROM '{user}'@'%';\n"
        "END//\n"
    )


def account_statements(*, user: str, passwords: Sequence[str]) -> str:
    """The statements that make the account ``user``, without a right; any number of times.

    Each of ``passwords`` is accepted, over TLS only: during a rotation the clients of the password before are
    not refused.

    Raises ``ValueError`` for a name that is not of lower-case letters, digits and ``_``, and for a password
    that has other characters than letters and digits.
    """
    check_names(user)
    if not passwords or not all(word.isascii() and word.isalnum() for word in passwords):
        raise ValueError(f"a password of the account {user} is not of letters and digits alone")
    ways = " OR ".join(f"mysql_native_password USING PASSWORD('{word}')" for word in passwords)
    account = f"'{user}'@'%'"
    return (
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED VIA {ways} REQUIRE SSL;\n"
        f"ALTER USER {account} IDENTIFIED VIA {ways} REQUIRE SSL;\n"
    )


def database_url(*, user: str, password: str, host: str, database: str, authority: str) -> str:
    """The URL by which SQLAlchemy reaches ``database`` through PyMySQL.

    With ``ssl_ca`` (the path ``authority``) PyMySQL checks the certificate and the server's name in it.
    """
    return f"mysql+pymysql://{user}:{password}@{host}:{PORT}/{database}?charset=utf8mb4&ssl_ca={authority}"
