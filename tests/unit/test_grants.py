"""Rights of accounts in a real MariaDB."""

from __future__ import annotations

import subprocess

from jarvis.stateful.database.mariadb import grant_statements, revoke_statements, schema_statements
from tests.unit.test_carry_over import Server, server

__all__ = ["server"]


def seen(server: Server, user: str) -> set[str]:
    """The schemas that ``user`` sees."""
    words = server.client.replace("--user=root", f"--user={user} --password=abc").split()
    done = subprocess.run(
        [*words, "--batch", "--skip-column-names", "-e", "SHOW DATABASES"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split()) - {"information_schema"}


def test_an_account_sees_one_schema_and_none_of_a_like_name(server: Server) -> None:
    """In a pattern, as a grant has one, ``_`` is any character."""
    for name in ("nova_api", "novaxapi"):
        server.ask(schema_statements(database=name))
    server.ask("CREATE USER 'some'@'%' IDENTIFIED BY 'abc'")
    for _ in range(2):
        server.ask(grant_statements(database="nova_api", user="some"))
        assert seen(server, "some") == {"nova_api"}
    for _ in range(2):
        server.ask(revoke_statements(database="nova_api", user="some"))
        assert seen(server, "some") == set()
