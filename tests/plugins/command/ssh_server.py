"""A real sshd on a loopback port, with keys of its own, as the server of these tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchain.plugins.command.connection import Connection
from toolchain.plugins.common.engine import Engine, Severity

START_SECONDS = 20


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition; fail when it does not come about in `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {START_SECONDS} s in vain"
        time.sleep(0.02)  # The interval of a poll, not what is waited for.


def make_key(path: Path, passphrase: str = "") -> str:
    """A new Ed25519 key at `path`; the private key's text."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.read_text()


@dataclass
class Server:
    """A running sshd that lets the current user in with `private_key`."""

    folder: Path
    port: int
    user: str
    private_key: str
    host_key: str
    options: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start sshd and wait until it accepts connections."""
        sshd = shutil.which("sshd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
        assert sshd is not None, "sshd is missing: apt-get install openssh-server"
        # sshd insists on the folder of its privilege separation.
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nAcceptEnv ALLOWED_*\nLogLevel VERBOSE\n{self.options}\n"
        )
        log = self.folder / "sshd.log"
        self.process = subprocess.Popen([sshd, "-D", "-E", str(log), "-f", str(config)])

        def listens() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens)

    def stop(self) -> None:
        """Stop sshd; connections that are open stay."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def logins(self) -> int:
        """How many connections have been let in."""
        return (self.folder / "sshd.log").read_text().count("Accepted publickey")

    def connection(self, **changes: object) -> Connection:
        """How to reach it, dialling once."""
        fields: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "private_key": self.private_key,
            "host_key": self.host_key,
            "dial_error_limit": 0,
        }
        return Connection(**{**fields, **changes})  # type: ignore[arg-type]

    def inputs(self, **changes: object) -> dict[str, object]:
        """The same as keyword arguments of `command.remote.ConnectionArgs`."""
        fields: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "private_key": self.private_key,
            "host_key": self.host_key,
            "dial_error_limit": 2,
        }
        return {**fields, **changes}


def start_server(folder: Path, options: str = "") -> Server:
    """A running sshd with new keys in a new folder; `options` are more lines of its sshd_config."""
    folder.mkdir()
    make_key(folder / "host")
    private_key = make_key(folder / "id")
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    host_key = (folder / "host.pub").read_text().strip()
    server = Server(folder, free_port(), getpass.getuser(), private_key, host_key, options)
    server.start()
    return server


class Listener(Engine):
    """An engine that remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[Severity, str, bool]] = []

    def log(self, severity: Severity, message: str, urn: str = "", *, status: bool = False) -> None:
        self.lines.append((severity, message, status))

    def texts(self) -> list[str]:
        """Every message."""
        return [message for _, message, _ in self.lines]
