"""The SSH connections of this process: one master per server and login, shared by many commands."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.plugins.command.connection import Connection
from toolchain.plugins.command.dial import Credentials, DialError, credentials, dial
from toolchain.plugins.command.mux import MasterGone, MuxError, Session, SessionRefused
from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.common.sockets import socket_folder

# sshd's default MaxSessions (sshd_config(5)); a server that allows fewer is noticed and remembered.
_SESSIONS = 10
# Beyond this many masters to one server commands wait for a session: 40 at once.
_MASTERS = 4
# How often a session is tried on a connection that ended, or is full, at the moment it is asked for.
_ATTEMPTS = 20
_PREFIX = "jarvis-ssh"


@dataclass
class _Master:
    control: Path
    capacity: int = _SESSIONS
    active: int = 0


@dataclass
class _Dialling:
    """A dial in progress, whose outcome everybody who waits for it shares."""

    limits: tuple[int, int]
    done: bool = False
    error: DialError | None = None


@dataclass
class _Host:
    held: Credentials
    changed: threading.Condition = field(default_factory=threading.Condition)
    masters: list[_Master] = field(default_factory=list)
    dialling: _Dialling | None = None
    # Names of environment variables: whether the server's AcceptEnv takes them.
    accepted: dict[str, bool] = field(default_factory=dict)
    dials: int = 0


class Pool:
    """All masters of this process. `close` ends them; a killed process's masters end by themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}
        self._folder: Path | None = None
        self._masters = 0

    def accepted(self, connection: Connection) -> dict[str, bool]:
        """What is known of the server's AcceptEnv: variable name to whether it is taken. May be added to."""
        return self._host(connection).accepted

    @contextlib.contextmanager
    def session(self, connection: Connection, op: Operation) -> Iterator[Callable[..., Session]]:
        """A place for one session on a connection to the server, opened or shared as need be.

        Yields a function `open(command, environment, streams)` that starts the command (see `Session.open`)
        and returns its session, for the block to wait on; the block's end closes it.

        Raises:
            DialError, Cancelled: no connection.
            ProviderError: the server opens no session.
        """
        with contextlib.ExitStack() as cleanup:

            def start(command: str, environment: dict[str, str], streams: tuple[int, int, int]) -> Session:
                reason = ""
                for _ in range(_ATTEMPTS):
                    host, master = self._acquire(connection, op)
                    try:
                        session = Session(master.control)
                        try:
                            session.open(command, environment, streams)
                        except BaseException:
                            session.close()
                            raise
                    except MasterGone as error:
                        reason = str(error)
                        self._forget(host, master)
                    except SessionRefused as error:
                        reason = str(error)
                        self._shrink(host, master, op)
                    except BaseException:
                        self._release(host, master)
                        raise
                    else:
                        cleanup.callback(self._release, host, master)
                        cleanup.callback(session.close)
                        return session
                raise ProviderError(f"{connection.label}: the server opens no session: {reason}")

            try:
                yield start
            except MuxError as error:
                raise ProviderError(f"{connection.label}: {error}") from error

    def alive(self, connection: Connection) -> bool:
        """Whether a master to the server still has its connection."""
        with self._host(connection).changed:
            controls = [master.control for master in self._host(connection).masters]
        for control in controls:
            with contextlib.suppress(MasterGone, MuxError):
                session = Session(control)
                try:
                    if session.alive():
                        return True
                finally:
                    session.close()
        return False

    def close(self) -> None:
        """End every master and remove their folder."""
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
            folder, self._folder = self._folder, None
        for host in hosts:
            for master in host.masters:
                with contextlib.suppress(MasterGone, MuxError):
                    session = Session(master.control)
                    session.terminate()
                    session.close()
            host.held.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _host(self, connection: Connection) -> _Host:
        with self._lock:
            host = self._hosts.get(connection.key)
            if host is None:
                host = self._hosts[connection.key] = _Host(credentials(connection))
            return host

    def _acquire(self, connection: Connection, op: Operation) -> tuple[_Host, _Master]:
        """A master with a free session, counted as used; dials when there is none and it may."""
        host = self._host(connection)
        limits = (connection.dial_error_limit, connection.per_dial_timeout)
        with host.changed:
            while True:
                op.cancellation.check()
                for master in host.masters:
                    if master.active < master.capacity:
                        master.active += 1
                        return host, master
                if host.dialling is None and len(host.masters) < _MASTERS:
                    host.dialling = mine = _Dialling(limits)
                    break
                waited = host.dialling
                # The timeout is for cancellation, which notifies nobody here.
                host.changed.wait(0.5)
                # A dial that failed for another command with the same limits would fail for this one too.
                if waited is not None and waited.error is not None and waited.limits == limits:
                    raise waited.error
        try:
            master = self._dial(connection, host, op)
        except BaseException as error:
            with host.changed:
                mine.error = error if isinstance(error, DialError) else None
                host.dialling = None
                host.changed.notify_all()
            raise
        with host.changed:
            master.active = 1
            host.masters.append(master)
            host.dialling = None
            host.changed.notify_all()
        return host, master

    def _dial(self, connection: Connection, host: _Host, op: Operation) -> _Master:
        with self._lock:
            folder = self._private_folder()
            self._masters += 1
            control = folder / f"{self._masters}"
        hop = connection.proxy
        dial(connection, control, host.held, op, None if hop is None else lambda: self._live_control(hop, op))
        host.dials += 1
        return _Master(control)

    def _live_control(self, proxy: Connection, op: Operation) -> Path:
        """The control socket of a master to a proxy that has its connection now, dialled if need be.

        It carries the target's connection as a channel, which counts as no session.
        """
        for _ in range(_MASTERS + 1):
            host, master = self._acquire(proxy, op)
            try:
                session = Session(master.control)
            except MasterGone:
                self._forget(host, master)
                continue
            session.close()
            self._release(host, master)
            return master.control
        raise DialError(f"{proxy.label}: the connection to the proxy does not last")

    def _release(self, host: _Host, master: _Master) -> None:
        with host.changed:
            master.active -= 1
            host.changed.notify()

    def _forget(self, host: _Host, master: _Master) -> None:
        """The master is gone: use it no more."""
        with host.changed:
            master.active -= 1
            if master in host.masters:
                host.masters.remove(master)
            host.changed.notify_all()

    def _shrink(self, host: _Host, master: _Master, op: Operation) -> None:
        """The server refused a session: it allows no more than those that run now."""
        with host.changed:
            master.active -= 1
            master.capacity = max(1, min(master.capacity, master.active))
            alone = master.active == 0
            host.changed.notify_all()
        if alone:
            # Refused with none running: a session that just ended may not be closed over there yet.
            op.cancellation.wait(0.2)

    def _private_folder(self) -> Path:
        """The folder of this process's control sockets, mode 0700; made at the first use."""
        if self._folder is None:
            self._folder = socket_folder(_PREFIX)
        return self._folder
