"""Commands and copies over OpenSSH, against a real sshd."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ssh_server import Listener, Server, free_port, make_key, until

from toolchain.plugins.command import remote, transfer
from toolchain.plugins.command.connection import parse
from toolchain.plugins.command.dial import DialError, HostKeyError, NoCredentialsError, PrivateKeyError
from toolchain.plugins.command.output import Logging, Redaction
from toolchain.plugins.command.pool import Pool
from toolchain.plugins.common.engine import Severity
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.common.values import Archive, Asset, Secret


def listener(op: Operation) -> Listener:
    assert isinstance(op.engine, Listener)
    return op.engine


def test_output_input_and_progress(server: Server, pool: Pool, op: Operation) -> None:
    result = remote.run(pool, server.connection(), "echo out; cat; echo err >&2", op, stdin="in\n\n")
    assert (result.stdout, result.stderr) == ("out\nin\n", "err")
    assert set(listener(op).lines) == {(Severity.INFO, text, True) for text in ("out", "in", "", "err")}


def test_large_input_and_output_do_not_block(server: Server, pool: Pool, op: Operation) -> None:
    text = "x" * 5_000_000
    assert (
        remote.run(pool, server.connection(), "cat", op, stdin=text, logging=Logging(False, False)).stdout
        == text
    )


def test_without_input_the_command_reads_nothing(server: Server, pool: Pool, op: Operation) -> None:
    assert remote.run(pool, server.connection(), "wc -c", op).stdout.strip() == "0"


def test_one_connection_serves_many_commands(server: Server, pool: Pool, op: Operation) -> None:
    with ThreadPoolExecutor(10) as threads:
        results = threads.map(
            lambda n: remote.run(pool, server.connection(), f"echo {n}", op).stdout, range(10)
        )
        assert list(results) == [str(n) for n in range(10)]
    # All ten could run at once (MaxSessions is 10): no more connections than that needs.
    assert server.logins() == 1


def test_more_commands_than_sessions(
    make_server: Callable[..., Server], pool: Pool, op: Operation, tmp_path: Path
) -> None:
    server = make_server("MaxSessions 2")
    with ThreadPoolExecutor(20) as threads:
        results = threads.map(
            lambda n: remote.run(pool, server.connection(), f"echo {n}", op).stdout, range(20)
        )
        assert list(results) == [str(n) for n in range(20)]
    assert server.logins() <= 4


def test_a_lost_connection_is_made_again(server: Server, pool: Pool, op: Operation) -> None:
    connection = server.connection()
    remote.run(pool, connection, "true", op)
    with pytest.raises(ProviderError, match=r"connection to .* was lost"):
        # The session's sshd is the shell's parent.
        remote.run(pool, connection, 'kill -9 "$PPID"; sleep 30', op)
    assert remote.run(pool, connection, "echo again", op).stdout == "again"


def test_a_failure_tells_status_command_and_output_but_not_input(
    server: Server, pool: Pool, op: Operation
) -> None:
    with pytest.raises(ProviderError) as caught:
        remote.run(pool, server.connection(), 'echo "out"; echo err >&2; exit 3', op, stdin="the input")
    text = str(caught.value)
    assert text.startswith('Process exited with status 3: running "echo \\"out\\"; echo err >&2; exit 3":\n')
    assert sorted(text.splitlines()[1:]) == ["err", "out"]
    assert "the input" not in text


def test_a_command_ended_by_a_signal_is_a_failure(server: Server, pool: Pool, op: Operation) -> None:
    with pytest.raises(ProviderError, match="ended by a signal"):
        remote.run(pool, server.connection(), "kill -9 $$", op)


def test_secrets_are_hidden_in_progress_and_failure(server: Server, pool: Pool, op: Operation) -> None:
    secret = "first line of it\nsecond line of it\n"
    with pytest.raises(ProviderError) as caught:
        remote.run(pool, server.connection(), "cat; exit 1", op, stdin=secret, redaction=Redaction([secret]))
    assert "line of it" not in str(caught.value) + "".join(listener(op).texts())
    assert "[secret]" in str(caught.value)


def test_environment_only_as_the_server_accepts_it(server: Server, pool: Pool, op: Operation) -> None:
    connection = server.connection()
    values = {"ALLOWED_A": "two\nlines", "ALLOWED_B": "b"}
    result = remote.run(pool, connection, 'echo "$ALLOWED_A$ALLOWED_B"', op, environment=values)
    assert result.stdout == "two\nlinesb"
    with pytest.raises(ProviderError, match=r"Unable to set 'DENIED'[^']*AcceptEnv"):
        remote.run(pool, connection, "true", op, environment={"DENIED": "x"})
    assert (
        remote.run(pool, connection, "echo ${DENIED-unset}", op, previous={"DENIED": "x"}).stdout == "unset"
    )
    warnings = [line for line in listener(op).lines if line[0] is Severity.WARNING]
    assert len(warnings) == 1
    assert not warnings[0][2]


def test_a_wrong_host_key_is_refused_at_once(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    make_key(tmp_path / "other")
    wrong = (tmp_path / "other.pub").read_text()
    with pytest.raises(HostKeyError, match=r"not the one in connection.hostKey.*ssh-keyscan"):
        remote.run(pool, server.connection(host_key=wrong, dial_error_limit=-1), "true", op)
    assert server.logins() == 0


def test_a_host_key_of_another_type_is_refused(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "other")], check=True)
    wrong = (tmp_path / "other.pub").read_text()
    with pytest.raises(HostKeyError, match=r"not the one in connection.hostKey"):
        remote.run(pool, server.connection(host_key=wrong), "true", op)


def test_without_host_key_any_server_will_do(server: Server, pool: Pool, op: Operation) -> None:
    assert remote.run(pool, server.connection(host_key=None), "echo yes", op).stdout == "yes"


def test_wrong_credentials(server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(DialError, match=r"after 2 failed dials: .*Permission denied"):
        remote.run(pool, server.connection(private_key=stranger, dial_error_limit=1), "true", op)
    assert any("Dial 1/1 failed" in text for text in listener(op).texts())
    with pytest.raises(
        PrivateKeyError, match=r"connection.privateKey cannot be used: it is not a private key"
    ):
        remote.run(pool, server.connection(private_key="no key", dial_error_limit=-1), "true", op)


def test_a_key_without_final_newline_and_with_windows_line_ends(
    server: Server, pool: Pool, op: Operation
) -> None:
    pasted = server.private_key.rstrip("\n").replace("\n", "\r\n")
    assert remote.run(pool, server.connection(private_key=pasted), "echo in", op).stdout == "in"


def test_an_encrypted_key(server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
    encrypted = make_key(tmp_path / "encrypted", "pass phrase")
    with (server.folder / "authorized_keys").open("a") as file:
        file.write((tmp_path / "encrypted.pub").read_text())
    good = server.connection(private_key=encrypted, private_key_password="pass phrase")
    assert remote.run(pool, good, "echo in", op).stdout == "in"
    bad = server.connection(private_key=encrypted, private_key_password="another")
    with pytest.raises(DialError):
        remote.run(pool, bad, "true", op)


def test_an_encrypted_key_without_its_passphrase_is_dialled_once(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    encrypted = make_key(tmp_path / "encrypted", "pass phrase")
    with pytest.raises(PrivateKeyError, match=r"cannot be used: it is encrypted"):
        remote.run(pool, server.connection(private_key=encrypted, dial_error_limit=-1), "true", op)
    assert listener(op).texts() == []


def test_without_any_credential_a_server_is_dialled_once(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    def refused(socket: str | None) -> str:
        connection = server.connection(private_key=None, agent_socket=socket, dial_error_limit=-1)
        with pytest.raises(NoCredentialsError) as caught:
            remote.run(pool, connection, "true", op)
        return str(caught.value)

    assert "no SSH agent is named by SSH_AUTH_SOCK" in refused(None)
    assert f"no SSH agent answers at {tmp_path / 'none'}" in refused(str(tmp_path / "none"))
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(socket.exists)
        assert f"the SSH agent at {socket} has no key" in refused(str(socket))
    finally:
        agent.terminate()
        agent.wait()
    assert listener(op).texts() == []


def test_the_keys_of_an_agent(server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(socket.exists)
        subprocess.run(
            ["ssh-add", "-q", "-"],
            input=server.private_key,
            text=True,
            check=True,
            env={**os.environ, "SSH_AUTH_SOCK": str(socket)},
        )
        connection = server.connection(private_key=None, agent_socket=str(socket))
        assert remote.run(pool, connection, "echo in", op).stdout == "in"
    finally:
        agent.terminate()
        agent.wait()


def test_through_a_proxy(make_server: Callable[..., Server], pool: Pool, op: Operation) -> None:
    proxy, target = make_server(), make_server()
    connection = target.connection(proxy=proxy.connection())
    assert remote.run(pool, connection, "echo $SSH_CONNECTION", op).stdout.endswith(str(target.port))
    assert (proxy.logins(), target.logins()) == (1, 1)
    # Both connections go on.
    remote.run(pool, connection, "true", op)
    remote.run(pool, proxy.connection(), "true", op)
    assert (proxy.logins(), target.logins()) == (1, 1)


def test_a_server_that_comes_up_late(server: Server, pool: Pool, op: Operation) -> None:
    server.stop()
    dialled = threading.Event()
    original = listener(op).log

    def log(severity: Severity, message: str, urn: str = "", *, status: bool = False) -> None:
        original(severity, message, urn, status=status)
        dialled.set()

    listener(op).log = log  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(remote.run, pool, server.connection(dial_error_limit=-1), "echo up", op)
        assert dialled.wait(60)
        server.start()
        assert running.result(60).stdout == "up"
    assert listener(op).texts()[0].startswith("Dial 1/inf failed: ")


def test_nobody_listens(pool: Pool, op: Operation, server: Server) -> None:
    with pytest.raises(DialError, match=r"after 1 failed dial: .*Connection refused"):
        remote.run(pool, server.connection(port=free_port()), "true", op)


def test_cancellation_ends_a_command_and_a_dial(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    with ThreadPoolExecutor(2) as threads:
        command = threads.submit(remote.run, pool, server.connection(), f"echo > {started}; sleep 600", op)
        dial = threads.submit(
            remote.run, pool, server.connection(port=free_port(), dial_error_limit=-1), "true", op
        )
        started.read_text()  # Blocks until the command has begun.
        op.cancellation.set()
        with pytest.raises(Cancelled):
            command.result(60)
        with pytest.raises(Cancelled):
            dial.result(60)
    with pytest.raises(Cancelled):
        remote.run(pool, server.connection(), "true", op)


def test_nothing_secret_in_arguments_or_on_disk(
    server: Server, pool: Pool, op: Operation, tmp_path: Path
) -> None:
    reached = tmp_path / "reached"
    proceed = tmp_path / "proceed"
    os.mkfifo(reached)
    os.mkfifo(proceed)
    with ThreadPoolExecutor(1) as threads:
        script = f"cat > /dev/null; echo > {reached}; cat {proceed} # marked-command"
        run = threads.submit(remote.run, pool, server.connection(), script, op, stdin="marked-input")
        reached.read_text()
        arguments = []
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                text = process.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "ssh\0" in text:
                arguments.append(text)
        folder = pool._folder
        assert folder is not None
        kept = [path for path in folder.rglob("*") if path.is_file()]
        mode = folder.stat().st_mode & 0o777
        proceed.write_text("")
        run.result(60)
    assert any(str(server.port) in text for text in arguments)
    key_line = server.private_key.splitlines()[2]
    for text in arguments:
        assert key_line not in text
        assert "marked-" not in text
    # Sockets only, in a folder for nobody else.
    assert kept == []
    assert mode == 0o700


def test_closing_ends_the_connections(server: Server, op: Operation) -> None:
    pool = Pool()
    remote.run(pool, server.connection(), "true", op)
    folder = pool._folder
    assert folder is not None
    control = next(folder.iterdir())
    pool.close()
    assert not folder.exists()
    listening = Path("/proc/net/unix").read_text()
    assert f"{control}\n" not in listening


class TestCopy:
    def test_a_file_arrives_whole_and_keeps_mode(
        self, server: Server, pool: Pool, op: Operation, tmp_path: Path
    ) -> None:
        source, target = tmp_path / "source", tmp_path / "it's a target"
        content = os.urandom(3_000_000)
        source.write_bytes(content)
        target.write_text("before")
        target.chmod(0o640)
        transfer.copy(pool, server.connection(), Asset(path=str(source)), str(target), op)
        assert target.read_bytes() == content
        assert target.stat().st_mode & 0o777 == 0o640
        assert sorted(path.name for path in tmp_path.iterdir() if ".part" in path.name) == []

    def test_into_a_folder(self, server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
        source, folder = tmp_path / "source", tmp_path / "folder"
        source.write_text("content")
        folder.mkdir()
        transfer.copy(pool, server.connection(), Asset(path=str(source)), str(folder), op)
        assert (folder / "source").read_text() == "content"
        with pytest.raises(ProviderError, match="it is a folder"):
            transfer.copy(pool, server.connection(), Asset(text="content"), str(folder), op)

    def test_through_a_link(self, server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
        link, target = tmp_path / "link", tmp_path / "target"
        target.write_text("before")
        link.symlink_to(target)
        transfer.copy(pool, server.connection(), Asset(text="after"), str(link), op)
        assert link.is_symlink()
        assert target.read_text() == "after"

    def test_a_missing_parent_is_an_error(
        self, server: Server, pool: Pool, op: Operation, tmp_path: Path
    ) -> None:
        with pytest.raises(ProviderError, match=r"cannot copy to .*/missing/file"):
            transfer.copy(pool, server.connection(), Asset(text="x"), str(tmp_path / "missing" / "file"), op)

    def test_a_truncated_stream_leaves_the_old_file(
        self, server: Server, pool: Pool, op: Operation, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.write_text("before")
        script = (Path(transfer.__file__).parent / "scripts" / "file.sh").read_text()
        words = " ".join(remote.quote(word) for word in ["sh", "-c", script, "copy", str(target), "10", ""])
        with pytest.raises(ProviderError, match="only 4 of 10 bytes arrived"):
            remote.run(pool, server.connection(), words, op, stdin="four")
        assert target.read_text() == "before"
        assert [path.name for path in tmp_path.glob("target*")] == ["target"]

    def test_trees(self, server: Server, pool: Pool, op: Operation, tmp_path: Path) -> None:
        source = tmp_path / "source"
        (source / "inner").mkdir(parents=True)
        (source / "inner" / "a").write_text("a")
        (source / "b").write_text("b")
        where = server.connection()
        transfer.copy(pool, where, Archive(path=str(source)), str(tmp_path / "t1"), op)
        assert (tmp_path / "t1" / "source" / "inner" / "a").read_text() == "a"
        transfer.copy(pool, where, Archive(path=f"{source}/"), str(tmp_path / "t2"), op)
        assert (tmp_path / "t2" / "b").read_text() == "b"
        assets = {"d/e/f.txt": Asset(text="f"), "sub": Archive(path=str(source))}
        transfer.copy(pool, where, Archive(assets=assets), str(tmp_path / "t3"), op)
        assert (tmp_path / "t3" / "d" / "e" / "f.txt").read_text() == "f"
        assert (tmp_path / "t3" / "sub" / "inner" / "a").read_text() == "a"
        # Again, over what is there.
        transfer.copy(pool, where, Archive(assets={"d/e/f.txt": Asset(text="new")}), str(tmp_path / "t3"), op)
        assert (tmp_path / "t3" / "d" / "e" / "f.txt").read_text() == "new"
        (tmp_path / "plain").write_text("")
        with pytest.raises(ProviderError, match="exists but is not a folder"):
            transfer.copy(pool, where, Archive(path=str(source)), str(tmp_path / "plain"), op)

    def test_an_archive_cannot_lead_out(
        self, server: Server, pool: Pool, op: Operation, tmp_path: Path
    ) -> None:
        archive = Archive(assets={"../x": Asset(text="x")})
        with pytest.raises(ProviderError, match="leads out"):
            transfer.copy(pool, server.connection(), archive, str(tmp_path / "t"), op)


def test_connection_of_properties() -> None:
    fields = {"host": "h", "port": 2222.0, "privateKey": Secret("k"), "proxy": {"host": "p", "password": "x"}}
    connection = parse(Secret(fields))
    assert (connection.host, connection.port, connection.user) == ("h", 2222, "root")
    assert connection.proxy is not None
    assert (connection.proxy.port, connection.proxy.password) == (22, "x")
    assert "k" not in repr(connection).split("@")[0]
    other = parse({**fields, "dialErrorLimit": 3})
    assert connection.key == other.key
    assert connection.key != parse({**fields, "user": "other"}).key
    with pytest.raises(ProviderError, match=r"connection.host: missing"):
        parse({"user": "x"})
