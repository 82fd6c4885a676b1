"""Tables of three-byte utf8 become whole, on a MariaDB of this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jarvis.stateful.database.carry_over import carry_over_steps, run_step
from jarvis.stateful.database.mariadb import option_file, schema_statements

PATIENCE_SECONDS = 60
PENGUIN = "\U0001f427"
# A table of each kind that services have: keys of text, of several columns, with an own index or one that
# MariaDB made; other collations; defaults and comments of every sort; columns that are no text, or whole.
TABLES = """
CREATE TABLE parent (
  id VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL COMMENT 'it''s', kind ENUM('a', 'b') DEFAULT 'b',
  extra TEXT,
  exact VARCHAR(64) COLLATE utf8mb3_bin NOT NULL DEFAULT 'it''s', number INT NOT NULL DEFAULT 7,
  made DATETIME DEFAULT CURRENT_TIMESTAMP, whole VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  PRIMARY KEY (id), UNIQUE KEY names (name, kind)
);
CREATE TABLE child (
  id INT PRIMARY KEY, parent_id VARCHAR(64) NOT NULL, name VARCHAR(255), kind ENUM('a', 'b'), other INT,
  CONSTRAINT to_parent FOREIGN KEY (parent_id) REFERENCES parent (id)
    ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT to_name FOREIGN KEY (name, kind) REFERENCES parent (name, kind) ON DELETE SET NULL
);
CREATE TABLE `order` (
  parent_id VARCHAR(64) NOT NULL, at INT NOT NULL, PRIMARY KEY (parent_id, at), KEY own (at),
  FOREIGN KEY (parent_id) REFERENCES parent (id), FOREIGN KEY (at) REFERENCES child (id));
CREATE TABLE numbers (a INT PRIMARY KEY, at INT, FOREIGN KEY (at) REFERENCES child (id) ON DELETE CASCADE);
"""
ROWS = """
INSERT INTO parent (id, name, extra) VALUES ('p', 'Straße', 'a');
INSERT INTO parent (id, name, extra) VALUES ('q', 'Strasse', NULL);
INSERT INTO child VALUES (1, 'p', 'Straße', 'b', NULL), (2, 'q', NULL, NULL, 3);
INSERT INTO `order` VALUES ('p', 1);
INSERT INTO numbers VALUES (1, 2);
"""


class Server:
    """A MariaDB of its own, configured as a member's is, without a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.client = folder, f"mariadb --user=root --socket={folder}/socket"
        # Who runs this has no server of another user, unless it is root.
        self.user = f"--user={folder.owner()}"
        text = option_file(
            name="one", cluster="x", addresses={"one": "127.0.0.1"}, buffer_pool_mib=64, options={}
        )
        apart = ("wsrep", "ssl", "tls", "require_secure", "bind", "port", "datadir")
        # At its start MariaDB removes what another one left there, or has there just now.
        (folder / "tmp").mkdir()
        lines = [line for line in text.partition("[sst]")[0].splitlines() if not line.startswith(apart)]
        (folder / "options").write_text("\n".join([*lines, f"tmpdir = {folder}/tmp"]) + "\n")
        shown = subprocess.run(
            ["mariadb-install-db", f"--defaults-file={folder}/options", f"--datadir={folder}/data",
             self.user, "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert shown.returncode == 0, shown.stdout + shown.stderr
        self.process = self._start()

    def more(self) -> list[str]:
        """Further options of its command line: by which others reach it than through its socket."""
        return ["--skip-networking"]

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/usr/sbin/mariadbd", f"--defaults-file={self.folder}/options", f"--datadir={self.folder}/data",
             self.user, *self.more(), f"--socket={self.folder}/socket",
             f"--pid-file={self.folder}/pid", f"--log-error={self.folder}/log"],
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.attempt("SELECT 1").returncode:
            assert process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            # Nothing tells that it listens but trying.
            time.sleep(0.1)
        return process

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)

    def start_again(self) -> None:
        self.stop()
        self.process = self._start()

    def attempt(self, statements: str, database: str = "") -> subprocess.CompletedProcess[str]:
        words = [*self.client.split(), "--batch", "--skip-column-names", "--raw", database]
        words += ["--default-character-set=utf8mb4"]
        return subprocess.run(
            [word for word in words if word], input=statements, capture_output=True, text=True, check=False
        )

    def ask(self, statements: str, database: str = "") -> list[str]:
        done = self.attempt(statements, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def definition(self, database: str) -> dict[str, list[str]]:
        """The lines of the statement of each table; the order of its keys is of no meaning."""
        return {
            table: sorted(line.rstrip(",") for line in self.ask(f"SHOW CREATE TABLE `{table}`", database))
            for table in self.ask("SHOW TABLES", database)
        }

    def carry_over(self, database: str) -> None:
        """As a server's role runs it."""
        for step, text in carry_over_steps(database).items():
            file = self.folder / step
            file.write_text(text)
            done = subprocess.run(
                ["bash", "-c", run_step(str(file), self.client)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("mariadb"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def old(server: Server) -> Callable[[], None]:
    """A function that makes the database ``old`` as it was before; ``fresh`` is as services make it now."""

    def make() -> None:
        server.ask("DROP DATABASE IF EXISTS old; CREATE DATABASE old CHARACTER SET utf8mb3")
        server.ask("SET old_mode = 'UTF8_IS_UTF8MB3';" + TABLES + ROWS, "old")
        server.ask(f"DROP DATABASE IF EXISTS fresh; {schema_statements(database='fresh')}")
        server.ask(TABLES.replace("utf8mb3_bin", "utf8mb4_bin") + ROWS, "fresh")
        server.ask(schema_statements(database="old"))

    return make


def contents(server: Server, database: str) -> list[str]:
    parent = "SELECT id, name, kind, extra, exact, number FROM parent ORDER BY id;"
    others = "SELECT * FROM child ORDER BY id; SELECT * FROM `order`; SELECT * FROM numbers"
    return server.ask(parent + others, database)


def test_what_services_call_utf8_is_whole(server: Server) -> None:
    server.ask("CREATE OR REPLACE DATABASE named; CREATE TABLE named.t (a VARCHAR(9)) CHARSET=utf8")
    assert server.ask(f"INSERT INTO named.t VALUES ('{PENGUIN}'); SELECT a FROM named.t") == [PENGUIN]


def test_tables_become_what_services_would_make_now(server: Server, old: Callable[[], None]) -> None:
    old()
    assert server.definition("old") != server.definition("fresh")
    before = contents(server, "old")
    insert = f"INSERT INTO parent (id, name) VALUES ('r', '{PENGUIN}')"
    assert "1366" in server.attempt(insert, "old").stderr
    server.carry_over("old")
    assert server.definition("old") == server.definition("fresh")
    assert contents(server, "old") == before
    # Nobody needs a second run, and a second run needs nothing.
    for text in carry_over_steps("old").values():
        assert [line for line in server.ask(text) if "ALTER" in line] == []
    server.ask(insert, "old")
    assert server.ask(f"SELECT id FROM parent WHERE name = '{PENGUIN}'", "old") == ["r"]
    # Keys hold as before, and after a restart.
    server.start_again()
    assert "1452" in server.attempt("INSERT INTO child VALUES (3, 'nobody', NULL, NULL, NULL)", "old").stderr
    server.ask("DELETE FROM parent WHERE id = 'q'", "old")
    assert server.ask("SELECT id FROM child; SELECT a FROM numbers", "old") == ["1"]


@pytest.mark.parametrize("step", carry_over_steps("old"))
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    server: Server, old: Callable[[], None], step: str
) -> None:
    """After each statement of a step, with MariaDB started anew in between."""
    steps = carry_over_steps("old")
    old()
    done = 0
    while True:
        for name, text in steps.items():
            statements = server.ask(text)
            if name == step:
                break
            server.ask("\n".join(statements))
        if done > len(statements):
            break
        server.ask("\n".join(statements[:done]))
        server.start_again()
        server.carry_over("old")
        assert server.definition("old") == server.definition("fresh"), done
        assert contents(server, "old") == contents(server, "fresh"), done
        done += 3
        old()
    assert done > 3
