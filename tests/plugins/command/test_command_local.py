"""Commands on this machine, the files they make, and the checks of inputs."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ssh_server import Listener

from toolchain.plugins.command import local, schema
from toolchain.plugins.command.output import HIDDEN, Logging, Redaction
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.common.values import UNKNOWN, Archive, Asset, Secret


def test_interpreter_folder_environment_and_input(op: Operation, tmp_path: Path) -> None:
    result = local.run(
        "import os, sys; os.system('echo e >&2'); print(os.getcwd(), os.environ['GREETING'], input())",
        op,
        interpreter=["python3", "-c"],
        directory=str(tmp_path),
        stdin="in",
        environment={"GREETING": "hi"},
    )
    assert (result.stdout, result.stderr) == (f"{tmp_path} hi in", "e")


def test_only_the_final_newline_goes(op: Operation) -> None:
    assert local.run("printf 'a\\n\\n'", op).stdout == "a\n"


@pytest.mark.parametrize(
    ("logging", "shown"),
    [
        (None, {"o", "e"}),
        ("stdout", {"o"}),
        ("stderr", {"e"}),
        ("stdoutAndStderr", {"o", "e"}),
        ("none", set()),
    ],
)
def test_which_streams_are_shown(op: Operation, logging: str | None, shown: set[str]) -> None:
    local.run("echo o; echo e >&2", op, logging=Logging.of(logging))
    assert isinstance(op.engine, Listener)
    assert set(op.engine.texts()) == shown


def test_thousands_of_lines_are_all_kept_but_not_all_shown(op: Operation) -> None:
    result = local.run("seq 100000", op)
    assert result.stdout.endswith("99999\n100000")
    assert isinstance(op.engine, Listener)
    assert len(op.engine.lines) < 10_000


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo o; exit 7", 'exit status 7: running "echo o; exit 7":\no\n'),
        ("kill -9 $$", 'ended by SIGKILL: running "kill -9 $$":\n'),
    ],
)
def test_failures(op: Operation, command: str, text: str) -> None:
    with pytest.raises(ProviderError) as caught:
        local.run(command, op, stdin="the-input")
    assert str(caught.value) == text


def test_what_cannot_start_is_named(op: Operation, tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="cannot start /no/such/interpreter"):
        local.run("true", op, interpreter=["/no/such/interpreter"])
    with pytest.raises(ProviderError, match=f"cannot start {tmp_path}/missing"):
        local.run("true", op, directory=str(tmp_path / "missing"))


def test_cancellation_ends_a_command_that_ignores_signals(op: Operation, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(local.run, f"trap '' TERM; echo > {started}; while :; do sleep 1; done", op)
        started.read_text()
        op.cancellation.set()
        with pytest.raises(Cancelled):
            running.result(30)


def test_collecting_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "d/c.txt", "d/e/f.txt", "d/e/g{h}.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def names(*patterns: str) -> list[str]:
        return sorted(local.collect(str(tmp_path), patterns))

    assert names("*.txt") == ["a.txt"]
    assert names("**.txt") == ["a.txt", "d/c.txt", "d/e/f.txt"]
    assert names("**.txt", "!d/e/*") == ["a.txt", "d/c.txt"]
    assert names("?.{txt,md}") == ["a.txt", "b.md"]
    assert names("[!a].*") == ["b.md"]
    assert names("d/e/g\\{h\\}.bin") == ["d/e/g{h}.bin"]
    found = local.collect(str(tmp_path), ["a.txt"])["a.txt"]
    assert found.path == str(tmp_path / "a.txt")
    assert found.hash == hashlib.sha256(b"a.txt").hexdigest()


def test_redaction() -> None:
    hide = Redaction(["secret", "secret and more", "a", "first line here\nsecond line here\n"])
    assert hide("a secret and more, a secret") == f"a {HIDDEN}, a {HIDDEN}"
    assert hide("> second line here <") == f"> {HIDDEN} <"


def reasons(token: str, **news: Any) -> list[str]:
    return [failure.reason for failure in schema.check(token, news).failures]


def test_every_mistake_is_told_with_its_field() -> None:
    found = reasons(
        schema.REMOTE,
        connection={"user": 3, "privatKey": "the-key", "proxy": {"port": "x"}},
        create=["x"],
        environment={"A": 1},
        logging="loud",
        interpreter=["sh"],
    )
    text = "\n".join(found)
    for field in (
        "connection.user: must be a string",
        "connection.privatKey: unknown field",
        "connection.host: missing",
        "connection.proxy.port: must be a number",
        "connection.proxy.host: missing",
        "create: must be a string",
        "environment.A: must be a string",
        "logging: must be one of stdout,",
        "interpreter: unknown field",
    ):
        assert field in text
    assert len(found) == 9
    assert "the-key" not in text
    assert reasons(schema.REMOTE) == ["connection: missing"]
    assert reasons(schema.COPY, connection=UNKNOWN, source="x", remotePath="/x") == [
        "source: must be an asset or an archive"
    ]
    assert (
        "a remote one" in reasons(schema.COPY, connection=UNKNOWN, source=Asset(uri="u"), remotePath="/")[0]
    )


def test_unknowns_and_secrets_pass_the_checks() -> None:
    assert reasons(schema.REMOTE, connection=Secret(UNKNOWN), create=Secret("x"), stdin=UNKNOWN) == []
    archive = Archive(assets={"a": Asset(text="t")})
    assert (
        reasons(schema.COPY, connection={"host": UNKNOWN}, source=Secret(archive), remotePath=UNKNOWN) == []
    )


def test_a_plain_connection_becomes_secret_with_defaults() -> None:
    checked = schema.check(
        schema.REMOTE, {"connection": {"host": "h", "privateKey": "k", "proxy": {"host": "p"}}}
    )
    assert checked.inputs["connection"] == Secret(
        {
            "host": "h",
            "privateKey": Secret("k"),
            "proxy": {"host": "p", "user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15},
            "user": "root",
            "port": 22,
            "dialErrorLimit": 10,
            "perDialTimeout": 15,
        }
    )
