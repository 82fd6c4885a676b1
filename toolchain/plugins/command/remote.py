"""Run one command on a server, over a shared SSH connection."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from toolchain.plugins.command.connection import Connection
from toolchain.plugins.command.mux import memory_file
from toolchain.plugins.command.output import Capture, Logging, Redaction
from toolchain.plugins.command.pool import Pool
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation

# The official plugin's hint, word for word, so that what operators find about it applies.
_ENVIRONMENT_HINT = (
    "Unable to set '{name}'. This only works if your SSH server is configured to accept\n\t"
    "these variables via AcceptEnv. Alternatively, if a Bash-like shell runs the command on the remote host, "
    "you could\n\tprefix the command itself with the variables in the form 'VAR=value command'"
)


@dataclass
class Result:
    """What a command wrote, each less one final newline."""

    stdout: str
    stderr: str


def run(
    pool: Pool,
    connection: Connection,
    command: str,
    op: Operation,
    *,
    stdin: str | int | None = None,
    environment: Mapping[str, str] | None = None,
    previous: Mapping[str, str] | None = None,
    logging: Logging | None = None,
    redaction: Redaction | None = None,
) -> Result:
    """Run `command` with the login shell of the connection's user and wait for its end.

    Args:
        stdin: text, or a file descriptor whose content is sent; the caller keeps it.
        environment: variables that the server must accept (AcceptEnv).
        previous: variables that are only warned about when it does not.

    Raises:
        ProviderError: the command failed (with its status, text and output), a variable is not accepted, or
            there is no connection (DialError).
        Cancelled: the engine cancelled. What runs on the server loses its standard streams.
    """
    redaction = redaction or Redaction(())
    wanted = dict(environment or {})
    offered = dict(previous or {})
    if wanted or offered:
        taken = _accepted(pool, connection, [*wanted, *offered], op)
        for name in wanted:
            if not taken[name]:
                raise ProviderError(_ENVIRONMENT_HINT.format(name=name))
        for name in list(offered):
            if not taken[name]:
                op.warn(_ENVIRONMENT_HINT.format(name=name))
                del offered[name]
    capture = Capture(op, logging or Logging(), redaction)
    status = _session(pool, connection, command, {**wanted, **offered}, stdin, capture, op)
    if status is None:
        if op.cancellation.is_set():
            raise Cancelled(capture.failure("cancelled", command))
        if pool.alive(connection):
            raise ProviderError(capture.failure("Process ended by a signal, without exit status", command))
        raise ProviderError(capture.failure(f"the connection to {connection.label} was lost", command))
    if status != 0:
        raise ProviderError(capture.failure(f"Process exited with status {status}", command))
    return Result(capture.text("stdout"), capture.text("stderr"))


def _session(
    pool: Pool,
    connection: Connection,
    command: str,
    environment: dict[str, str],
    stdin: str | int | None,
    capture: Capture,
    op: Operation,
) -> int | None:
    """Run one session to its end; its exit status, None when it ended without one."""
    with pool.session(connection, op) as start, ExitStack() as files:
        if isinstance(stdin, int):
            source = stdin
        elif stdin:
            # From memory: nothing to feed while the command runs, and nothing on a disk.
            source = memory_file("stdin", stdin.encode())
            files.callback(os.close, source)
        else:
            source = os.open(os.devnull, os.O_RDONLY)
            files.callback(os.close, source)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        with ExitStack() as mine:
            mine.callback(os.close, out_write)
            mine.callback(os.close, err_write)
            try:
                session = start(command, environment, (source, out_write, err_write))
            except BaseException:
                os.close(out_read)
                os.close(err_read)
                raise
        # The master holds the writing ends now, and after a cancellation as long as the command runs.
        stopping, stop = socket.socketpair()
        files.callback(stopping.close)
        files.callback(stop.close)

        def cancel() -> None:
            session.shut()
            stop.shutdown(socket.SHUT_RDWR)

        try:
            with op.cancellation.calling(cancel):
                capture.read(out_read, err_read, stopping.fileno())
                return session.exit_status()
        except Cancelled:
            os.close(out_read)
            os.close(err_read)
            raise


def _accepted(pool: Pool, connection: Connection, names: list[str], op: Operation) -> dict[str, bool]:
    """Which variables the server takes over. Asked once per server and name, by setting and listing them."""
    known = pool.accepted(connection)
    unknown = [name for name in names if name not in known]
    if unknown:
        # The protocol does not tell (OpenSSH asks for no reply), so try with a value nobody else has.
        mark = secrets.token_hex(8)
        capture = Capture(op, Logging(False, False), Redaction(()))
        status = _session(pool, connection, "env", dict.fromkeys(unknown, mark), None, capture, op)
        if status is None:
            op.cancellation.check()
            raise ProviderError(f"the connection to {connection.label} was lost")
        lines = set(capture.text("stdout").splitlines())
        known.update({name: f"{name}={mark}" in lines for name in unknown})
    return {name: known[name] for name in names}


def quote(text: str) -> str:
    """The text as one word of a POSIX shell, for commands made here."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"
