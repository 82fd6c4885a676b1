"""A client of OpenSSH's connection multiplexing: run commands over a master's connection.

The protocol is the one between `ssh` and its ControlMaster (PROTOCOL.mux in OpenSSH's source, version 4).
Speaking it here, rather than starting an `ssh` client for each command, spares a process per command and
keeps command text, environment and standard input out of every process's arguments.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

_HELLO = 0x00000001
_NEW_SESSION = 0x10000002
_ALIVE_CHECK = 0x10000004
_TERMINATE = 0x10000005
_PERMISSION_DENIED = 0x80000002
_FAILURE = 0x80000003
_EXIT_MESSAGE = 0x80000004
_ALIVE = 0x80000005
_SESSION_OPENED = 0x80000006
_VERSION = 4
_NO_ESCAPE = 0xFFFFFFFF
# A master answers from its event loop; one that does not within this time is stuck.
_ANSWER_SECONDS = 30.0
# No message of the protocol is near this long; a longer one is a broken peer.
_LONGEST = 1 << 20


class MasterGone(Exception):
    """No master answers at the control socket (it ended, or was never there)."""


class SessionRefused(Exception):
    """The server refused one more session on this connection (sshd's MaxSessions)."""


class MuxError(Exception):
    """The master answered something else than the protocol allows."""


def _text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(raw)) + raw


class Session:
    """One command's session on a master. Standard streams are the caller's own file descriptors."""

    def __init__(self, control: Path) -> None:
        """Connect to the master at `control`. Raises MasterGone."""
        self._buffer = b""
        self._request = 1
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(_ANSWER_SECONDS)
        try:
            self.socket.connect(str(control))
            self._send(struct.pack(">II", _HELLO, _VERSION))
            kind, body = self._receive()
        except (OSError, MasterGone) as error:
            self.socket.close()
            raise MasterGone(str(error)) from error
        if kind != _HELLO or struct.unpack(">I", body[:4])[0] != _VERSION:
            self.socket.close()
            raise MuxError("the ssh on this machine speaks another multiplexing protocol than version 4")

    def open(self, command: str, environment: Mapping[str, str], streams: tuple[int, int, int]) -> None:
        """Start `command` on the server with the three file descriptors as its stdin, stdout, stderr.

        Raises:
            SessionRefused: the connection carries as many sessions as the server allows.
            MasterGone: the connection ended meanwhile; nothing was started.
            MuxError: any other answer.
        """
        body = struct.pack(">II", _NEW_SESSION, self._request) + _text("")
        body += struct.pack(">IIIII", 0, 0, 0, 0, _NO_ESCAPE)  # tty, X11, agent, subsystem, escape character
        body += _text("") + _text(command)  # terminal type, command
        for name, value in environment.items():
            body += _text(f"{name}={value}")
        try:
            self._send(body)
            for descriptor in streams:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
                self.socket.sendmsg([b"\0"], [rights])
            kind, answer = self._receive()
        except OSError as error:
            raise MasterGone(str(error)) from error
        if kind == _SESSION_OPENED:
            self.socket.settimeout(None)
            return
        if kind in (_FAILURE, _PERMISSION_DENIED):
            length = struct.unpack(">I", answer[4:8])[0]
            reason = answer[8 : 8 + length].decode(errors="replace")
            if "refused" in reason:
                raise SessionRefused(reason)
            raise MuxError(f"ssh could not open a session: {reason}")
        raise MuxError(f"ssh's master answered a session request with message {kind:#x}")

    def exit_status(self) -> int | None:
        """Wait for the command's end: its exit status, or None when the session ended without one."""
        while True:
            try:
                kind, body = self._receive()
            except (MasterGone, OSError):
                return None
            if kind == _EXIT_MESSAGE:
                return int(struct.unpack(">I", body[4:8])[0])

    def alive(self) -> bool:
        """Whether the master still has its connection."""
        try:
            self._send(struct.pack(">II", _ALIVE_CHECK, self._request))
            return self._receive()[0] == _ALIVE
        except (OSError, MasterGone):
            return False

    def terminate(self) -> None:
        """Ask the master to end, with its connection. Does not wait."""
        try:
            self._send(struct.pack(">II", _TERMINATE, self._request))
        except OSError:
            return

    def shut(self) -> None:
        """End the session, from another thread: a waiting `exit_status` returns."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket; the master ends the session if it still runs."""
        self.socket.close()

    def _send(self, body: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(body)) + body)

    def _receive(self) -> tuple[int, bytes]:
        length = struct.unpack(">I", self._exactly(4))[0]
        if not 4 <= length <= _LONGEST:
            raise MuxError(f"ssh's master sent a message of {length} bytes")
        body = self._exactly(length)
        return int(struct.unpack(">I", body[:4])[0]), body[4:]

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            part = self.socket.recv(65536)
            if not part:
                raise MasterGone("the master closed its control socket")
            self._buffer += part
        out, self._buffer = self._buffer[:count], self._buffer[count:]
        return out


def memory_file(name: str, content: bytes) -> int:
    """A file descriptor of an anonymous file in memory with this content, read from the start; mode 0600."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
