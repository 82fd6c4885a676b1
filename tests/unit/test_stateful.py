"""What MariaDB is told, and the script that makes its data directory."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from jarvis.stateful.database import DatabaseArgs
from jarvis.stateful.database.carry_over import carry_over_steps
from jarvis.stateful.database.mariadb import (
    account_statements,
    database_url,
    grant_statements,
    option_file,
    revoke_statements,
    schema_statements,
)
from tests.unit.test_kubernetes_text import two_of_the_first

ADDRESSES = {"one": "192.0.2.1", "two": "192.0.2.2"}
TEXT = option_file(name="one", cluster="test", addresses=ADDRESSES, buffer_pool_mib=64, options={})


def test_on_a_slow_server_clients_have_longer_to_log_in() -> None:
    assert "connect_timeout" not in TEXT
    slow = option_file(
        name="one", cluster="test", addresses=ADDRESSES, buffer_pool_mib=64, options={}, patience=20
    )
    assert "\nconnect_timeout = 200\n" in slow


def _settings(**options: str | int | bool) -> dict[str, str]:
    text = option_file(
        name="one", cluster="test", addresses=ADDRESSES, buffer_pool_mib=64, options=options
    ).partition("[sst]")[0]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "[mariadbd]"
    pairs = [line.split(" = ", 1) for line in lines[1:]]
    assert len(pairs) == len({name for name, _ in pairs})
    return dict(pairs)  # type: ignore[arg-type]


def test_the_database_keeps_what_it_acknowledged() -> None:
    settings = _settings()
    assert settings["innodb_flush_log_at_trx_commit"] == "1"
    assert settings["sync_binlog"] == "1"
    assert settings["innodb_buffer_pool_size"] == "64M"


def test_the_database_listens_on_one_address_with_tls_alone() -> None:
    spelled: dict[str, str | int | bool] = {"require-secure-transport": False, "ssl-key": "/x"}
    settings = _settings(bind_address="0.0.0.0", **spelled)
    assert settings["bind_address"] == "192.0.2.1"
    assert settings["require_secure_transport"] == "1"
    assert settings["tls_version"] == "TLSv1.2,TLSv1.3"
    for suite in settings["ssl_cipher"].split(":"):
        assert suite.startswith("ECDHE-")
        assert suite.endswith(("-GCM-SHA256", "-GCM-SHA384", "-POLY1305"))
    assert f"socket.ssl_cipher={settings['ssl_cipher']};" in settings["wsrep_provider_options"]
    assert settings["ssl_key"] == "/etc/mysql/jarvis/server.key"


def test_an_operators_option_wins_by_either_spelling() -> None:
    settings = _settings(**{"max-connections": 7, "performance_schema": True})
    assert settings["max_connections"] == "7"
    assert settings["performance_schema"] == "1"


@pytest.mark.parametrize(
    ("name", "value"), [("x = 1\ny", "1"), ("[client]", "1"), ("", "1"), ("init_file", "a\nb")]
)
def test_an_option_cannot_smuggle_in_another(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"database\.options"):
        option_file(
            name="one", cluster="test", addresses=ADDRESSES, buffer_pool_mib=64, options={name: value}
        )


def test_a_schema_has_the_character_set_that_is_asked_for_now() -> None:
    assert schema_statements(database="glance").splitlines() == [
        "CREATE DATABASE IF NOT EXISTS `glance` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;",
        "ALTER DATABASE `glance` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;",
    ]


def test_a_grant_is_of_one_database_and_can_be_taken_back() -> None:
    grant = grant_statements(database="images", user="glance")
    assert grant == "GRANT ALL PRIVILEGES ON `images`.* TO 'glance'@'%';\n"
    assert "REVOKE ALL PRIVILEGES ON `images`.* FROM 'glance'@'%';" in revoke_statements(
        database="images", user="glance"
    )


def test_an_account_may_log_in_by_both_passwords_and_do_nothing_else() -> None:
    text = account_statements(user="glance", passwords=["new1", "old1"])
    assert "GRANT" not in text
    assert text.count("REQUIRE SSL") == 2
    ways = "mysql_native_password USING PASSWORD('new1') OR mysql_native_password USING PASSWORD('old1')"
    assert text.count(f"IDENTIFIED VIA {ways} REQUIRE SSL;") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"passwords": ["it's"]},
        {"passwords": [""]},
        {"passwords": []},
        {"user": "a'b"},
        {"user": "a" * 33},
    ],
)
def test_an_account_is_made_of_plain_names_alone(change: dict[str, object]) -> None:
    arguments = {"user": "glance", "passwords": ["abc"], **change}
    with pytest.raises(ValueError, match="not"):
        account_statements(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(("database", "other"), [("a`b", "glance"), ("glance", "utf8'; DROP"), ("", "a")])
def test_statements_are_made_of_plain_names_alone(database: str, other: str) -> None:
    for name in (database, other):
        if not re.fullmatch("[a-z]+", name):
            with pytest.raises(ValueError, match="is not a name"):
                schema_statements(database=name)
            with pytest.raises(ValueError, match="is not a name"):
                carry_over_steps(name)
    for statements in (grant_statements, revoke_statements):
        with pytest.raises(ValueError, match="is not a name"):
            statements(database=database, user=other)


def test_a_url_says_whom_to_trust() -> None:
    url = urlsplit(
        database_url(user="glance", password="abc", host="db.example", database="glance", authority="/ca.pem")
    )
    assert (url.scheme, url.username, url.password) == ("mysql+pymysql", "glance", "abc")
    assert (url.hostname, url.port, url.path) == ("db.example", 3306, "/glance")
    assert parse_qs(url.query)["ssl_ca"] == ["/ca.pem"]


def test_the_database_is_on_an_odd_number_of_servers() -> None:
    with pytest.raises(ValueError, match="2 servers for the database"):
        DatabaseArgs(hosts=[], env=two_of_the_first())


def test_members_know_and_encrypt_each_other() -> None:
    settings = _settings()
    assert settings["wsrep_cluster_address"] == "gcomm://192.0.2.1,192.0.2.2"
    assert (settings["wsrep_node_name"], settings["wsrep_node_address"]) == ("one", "192.0.2.1")
    provider = dict(pair.split("=") for pair in settings["wsrep_provider_options"].strip('"').split(";"))
    assert provider["socket.ssl"] == "yes"
    assert provider["socket.ssl_ca"] == settings["ssl_ca"]
    # Who begins the cluster is decided by positions, never by who was connected last.
    assert provider["pc.recovery"] == "no"


def test_a_copy_of_the_database_is_encrypted() -> None:
    assert TEXT.endswith("[sst]\nencrypt = 4\n")
