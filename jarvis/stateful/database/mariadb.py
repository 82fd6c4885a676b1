"""Option file and statements of MariaDB, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jarvis.config.types import Option
from jarvis.core.tls import OPENSSL_CIPHERS

# Clients use the port of the link (jarvis.stateful.link); members listen beside its proxy.
PORT, MEMBER_PORT, HEALTH_PORT = 3306, 3307, 3308
TLS_FOLDER = "/etc/mysql/jarvis"
SQL_FOLDER = "/var/lib/jarvis/database"
# Not /var/lib/mysql, which Debian's package fills with a database of its own when it is installed.
DATA = "/var/lib/mariadb"
# What a member remembers, beside its data (jarvis.host.database.member).
STATE = "/var/lib/jarvis-database"

# All text is four-byte UTF-8. The collation compares as that of three-byte utf8 did: no two values become
# equal that were not, so no unique index prevents the conversion of a table.
CHARSET, COLLATION = "utf8mb4", "utf8mb4_general_ci"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OPTION = re.compile(r"[a-z][a-z0-9_-]*")

# Each acknowledged transaction is on disk (the MariaDB manual, "innodb_flush_log_at_trx_commit" and
# "sync_binlog"): anything weaker has lost acknowledged writes of OpenStack at a loss of power. Galera
# requires row format and interleaved auto-increment.
# https://mariadb.com/docs/galera-cluster/galera-management/configuration/configuring-mariadb-galera-cluster
_DURABLE: dict[str, Option] = {
    "innodb_flush_log_at_trx_commit": 1,
    "sync_binlog": 1,
    "innodb_doublewrite": 1,
    "innodb_autoinc_lock_mode": 2,
    "binlog_format": "ROW",
    "default_storage_engine": "InnoDB",
    # Without it only SUPER may create triggers under Galera, and services' migrations create some. Row
    # replication carries what a trigger did, whatever it does.
    # https://mariadb.com/docs/server/server-usage/stored-routines/binary-logging-of-stored-routines
    "log_bin_trust_function_creators": 1,
    "sql_mode": "TRADITIONAL",
    "character_set_server": CHARSET,
    "collation_server": COLLATION,
    # The default, UTF8_IS_UTF8MB3, makes `utf8` three bytes. Services' migrations say `utf8` and mean all of
    # UTF-8.
    # https://mariadb.com/docs/server/server-management/variables-and-modes/old_mode
    "old_mode": "",
}


# Galera's TLS between members, and its failure detection: a silent member is given up after 5 s, its default,
# for which no transaction commits when a server loses its power. A shorter time takes a busy machine for a
# lost one.
# https://galeracluster.com/library/documentation/galera-parameters.html
_GALERA = {
    "socket.ssl": "yes",
    "socket.ssl_ca": f"{TLS_FOLDER}/authority.pem",
    "socket.ssl_cert": f"{TLS_FOLDER}/server.pem",
    "socket.ssl_key": f"{TLS_FOLDER}/server.key",
    "socket.ssl_cipher": OPENSSL_CIPHERS,
    # A member whose server was restarted receives what it missed from this cache, not a whole copy.
    "gcache.size": "256M",
    # Which member may bootstrap the cluster again is decided before MariaDB starts (jarvis.host.database).
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
    """The option file of one member, which listens on its address and on the local socket.

    Args:
        name: name of the member's server.
        cluster: name of the cluster.
        addresses: addresses of all members by server.
        buffer_pool_mib: InnoDB's buffer pool.
        options: the operator's options. They win, except over TLS and addresses.
        patience: factor for the time that a client may take to log in.

    Raises:
        ValueError: an option is not a name, or its value has several lines.
    """
    address = addresses[name]
    settings: dict[str, Option] = {
        **_DURABLE,
        "innodb_buffer_pool_size": f"{buffer_pool_mib}M",
        # Every process of every service keeps a few connections, and an update doubles the pods.
        "max_connections": 1000,
        "skip_name_resolve": 1,
        "performance_schema": 0,
        # MariaDB's default is ten seconds (Server System Variables, connect_timeout).
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
        # The donor connects through the local socket as the system user mysql, without a password.
        "wsrep_sst_auth": "mysql:",
        "wsrep_provider_options": f'"{";".join(f"{key}={value}" for key, value in _GALERA.items())}"',
    }
    lines = []
    for option, value in settings.items():
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if "\n" in text:
            raise ValueError(f"database.options.{option}: a value is one line")
        lines.append(f"{option} = {text}")
    # A whole copy travels between members by TLS, verified on both ends (mode 4 of wsrep_sst_mariabackup).
    lines += ["[sst]", "encrypt = 4"]
    return "# Written by Jarvis; options belong into the environment, section database.\n[mariadbd]\n" + (
        "\n".join(lines) + "\n"
    )


def _checked(name: str) -> str:
    if not _OPTION.fullmatch(name):
        raise ValueError(f"database.options: {name!r} is not the name of an option of MariaDB")
    return name.replace("-", "_")


def check_names(*names: str) -> None:
    """Checks names of databases and users.

    Raises:
        ValueError: a name is not of 1 to 32 lower-case letters, digits and ``_``.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of 1 to 32 lower-case letters, digits and _")


def schema_statements(*, database: str) -> str:
    """Idempotent statements that create ``database``, whose new tables have ``CHARSET``.

    Raises:
        ValueError: the name is not of lower-case letters, digits and ``_``.
    """
    check_names(database)
    text = f"CHARACTER SET {CHARSET} COLLATE {COLLATION}"
    return f"CREATE DATABASE IF NOT EXISTS `{database}` {text};\nALTER DATABASE `{database}` {text};\n"


def _literal(database: str) -> str:
    """The name of a schema where a pattern is read, in which ``_`` is any character (MariaDB's GRANT)."""
    return database.replace("_", r"\_")


def grant_statements(*, database: str, user: str) -> str:
    """The idempotent statement that gives ``user`` all rights on ``database``.

    Raises:
        ValueError: a name is not of lower-case letters, digits and ``_``.
    """
    check_names(database, user)
    return f"GRANT ALL PRIVILEGES ON `{_literal(database)}`.* TO '{user}'@'%';\n"


def revoke_statements(*, database: str, user: str) -> str:
    """Idempotent statements that revoke what ``grant_statements`` gave.

    Raises:
        ValueError: a name is not of lower-case letters, digits and ``_``.
    """
    check_names(database, user)
    # REVOKE has no IF EXISTS; 1141 is its error for a grant, or a user, that does not exist.
    return (
        "DELIMITER //\n"
        "BEGIN NOT ATOMIC\n"
        "  DECLARE CONTINUE HANDLER FOR 1141 BEGIN END;\n"
        f"  REVOKE ALL PRIVILEGES ON `{_literal(database)}`.* FROM '{user}'@'%';\n"
        "END//\n"
    )


def account_statements(*, user: str, passwords: Sequence[str]) -> str:
    """Idempotent statements that create the account ``user``, without any right.

    Each password is accepted, over TLS only: during a rotation clients with the former one are not refused.

    Args:
        user: name of the account.
        passwords: the passwords.

    Raises:
        ValueError: the name is not of lower-case letters, digits and ``_``, or a password not of letters and
            digits.
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

    ``ssl_ca`` (the path ``authority``) makes PyMySQL check the certificate and the server's name in it.
    """
    return f"mysql+pymysql://{user}:{password}@{host}:{PORT}/{database}?charset=utf8mb4&ssl_ca={authority}"
