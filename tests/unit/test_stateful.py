"""What MariaDB is told, and the script that makes its data directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from jarvis.stateful.database import DatabaseArgs
from jarvis.stateful.database.mariadb import account_statements, database_url, option_file
from tests.unit.fakes import FILES, Commands


def _settings(**options: str | int | bool) -> dict[str, str]:
    text = option_file(address="192.0.2.1", buffer_pool_mib=64, options=options)
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
    settings = _settings(bind_address="0.0.0.0", **{"require-secure-transport": False, "ssl-key": "/x"})
    assert settings["bind_address"] == "192.0.2.1"
    assert settings["require_secure_transport"] == "1"
    assert settings["tls_version"] == "TLSv1.2,TLSv1.3"
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
        option_file(address="192.0.2.1", buffer_pool_mib=64, options={name: value})


def test_an_account_reaches_its_own_database_and_no_other() -> None:
    text = account_statements(database="glance", user="glance", charset="utf8mb3", passwords=["new1", "old1"])
    grants = [line for line in text.splitlines() if line.startswith("GRANT")]
    assert grants == ["GRANT ALL PRIVILEGES ON `glance`.* TO 'glance'@'%';"]
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
        {"database": "a`b"},
        {"charset": "utf8; DROP"},
        {"user": "a" * 33},
    ],
)
def test_statements_are_made_of_plain_names_alone(change: dict[str, object]) -> None:
    arguments = {"database": "glance", "user": "glance", "charset": "utf8mb3", "passwords": ["abc"], **change}
    with pytest.raises(ValueError, match="not"):
        account_statements(**arguments)  # type: ignore[arg-type]


def test_a_url_says_whom_to_trust() -> None:
    url = urlsplit(
        database_url(user="glance", password="abc", host="db.example", database="glance", authority="/ca.pem")
    )
    assert (url.scheme, url.username, url.password) == ("mysql+pymysql", "glance", "abc")
    assert (url.hostname, url.port, url.path) == ("db.example", 3306, "/glance")
    assert parse_qs(url.query)["ssl_ca"] == ["/ca.pem"]


def test_the_database_is_on_one_server() -> None:
    with pytest.raises(ValueError, match="on one server, not on 2"):
        DatabaseArgs(hosts=[None, None], env=None)  # type: ignore[list-item, arg-type]


class Server:
    """A server as ``mariadb-init.sh`` sees it: its commands, and the data directory."""

    def __init__(self, folder: Path) -> None:
        self.commands = Commands(folder / "bin")
        self.data = folder / "mysql"
        for each in ("systemctl", "chown", "sync"):
            self.commands.add(each)
        self.commands.add("install", f'mkdir -p "{self.data}"')
        self.commands.add("mariadb-install-db", f'mkdir "{self.data}/mysql"; touch "{self.data}/ibdata1"')

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(FILES / "mariadb-init.sh"), str(self.data)],
            env={"PATH": f"{self.commands.folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def made(self) -> int:
        return len(self.commands.calls("mariadb-install-db"))

    def files(self) -> set[str]:
        return {path.name for path in self.data.iterdir()}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_database_is_made_once(server: Server) -> None:
    assert server.run().returncode == 0
    assert server.run().returncode == 0
    assert server.made() == 1
    assert server.files() == {"mysql", "ibdata1"}


def test_an_existing_database_is_kept(server: Server) -> None:
    (server.data / "mysql").mkdir(parents=True)
    assert server.run().returncode == 0
    assert server.made() == 0


def test_an_interrupted_beginning_is_begun_again(server: Server) -> None:
    server.commands.add("mariadb-install-db", f'mkdir -p "{server.data}/mysql"; kill -9 $PPID; exit 1')
    assert server.run().returncode != 0
    assert server.files() == {"mysql", ".jarvis-initialising"}
    server.commands.add(
        "mariadb-install-db", f'mkdir "{server.data}/mysql" && touch "{server.data}/mysql/new"'
    )
    assert server.run().returncode == 0
    assert server.files() == {"mysql"}
    assert (server.data / "mysql" / "new").exists()


def test_a_disk_of_its_own_is_an_empty_directory(server: Server) -> None:
    (server.data / "lost+found").mkdir(parents=True)
    assert server.run().returncode == 0
    assert server.files() == {"mysql", "ibdata1", "lost+found"}


def test_what_is_no_database_is_not_touched(server: Server) -> None:
    server.data.mkdir()
    (server.data / "accounts.xls").touch()
    done = server.run()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"{server.data}/accounts.xls" in done.stderr
    assert "pulumi up" in done.stderr
    assert (server.made(), server.files()) == (0, {"accounts.xls"})
