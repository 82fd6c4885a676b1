"""Open one SSH connection: an OpenSSH master in the background, with retries as the connection allows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jarvis.core.credentials import agent_problem, key_problem, option_path
from toolchain.plugins.command.connection import UNLIMITED, Connection
from toolchain.plugins.command.mux import memory_file
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation

# Between failed dials, as pulumi's retry.Until waits: 0.1 s, then half as long again each time, at most 5 s.
_FIRST_DELAY, _DELAY_FACTOR, _LONGEST_DELAY = 0.1, 1.5, 5.0
# A master without sessions ends after this many seconds, so that one whose plugin was killed does not stay.
_IDLE_SECONDS = 60
# A dead peer is noticed after 6 unanswered probes: 90 s. A busy server answers them from sshd all the same.
_ALIVE_SECONDS, _ALIVE_PROBES = 15, 6
# Beyond ConnectTimeout (TCP, banner, key exchange) a login may take this long: PAM, a slow directory.
_LOGIN_SECONDS = 60
_ASKPASS = Path(__file__).parent / "askpass"
_HOST_KEY_WORDS = ("host key verification failed", "host identification has changed", "host key is known")


class DialError(ProviderError):
    """The server could not be reached, or did not let us in."""


class HostKeyError(DialError):
    """The server is not the one `hostKey` names. Not tried again."""


class PrivateKeyError(DialError):
    """`privateKey` is not a key that ssh can use. Not tried again."""


class NoCredentialsError(DialError):
    """There is nothing to prove who we are with. Not tried again."""


# What no further dial can mend.
_FINAL = (HostKeyError, PrivateKeyError, NoCredentialsError)


@dataclass
class Credentials:
    """What ssh reads of a connection, as files in this process's memory: nothing of it is on a disk.

    ssh closes inherited descriptors at its start, so it opens them by this process's /proc entries.
    """

    arguments: list[str]
    environment: dict[str, str]
    descriptors: list[int]

    def close(self) -> None:
        """Free the memory."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


def credentials(connection: Connection) -> Credentials:
    """The ssh options and environment that carry a connection's keys and passwords."""
    out = Credentials([], {}, [])

    def held(name: str, content: str) -> str:
        descriptor = memory_file(name, content.encode())
        out.descriptors.append(descriptor)
        return f"/proc/{os.getpid()}/fd/{descriptor}"

    socket = connection.agent_socket

    methods = []
    if connection.private_key is not None:
        # OpenSSH wants the last line ended; keys pasted into a configuration often lack that.
        key = connection.private_key.replace("\r\n", "\n").rstrip("\n") + "\n"
        out.arguments += ["-o", f"IdentityFile={held('key', key)}"]
        if connection.private_key_password is not None:
            out.environment["PLUGIN_PASSPHRASE_FILE"] = held(
                "passphrase", connection.private_key_password + "\n"
            )
    else:
        out.arguments += ["-o", "IdentityFile=none"]
    if connection.private_key is not None or socket:
        methods.append("publickey")
    if connection.password is not None:
        methods += ["password", "keyboard-interactive"]
        out.environment["PLUGIN_PASSWORD_FILE"] = held("password", connection.password + "\n")
    out.arguments += ["-o", f"PreferredAuthentications={','.join(methods) or 'none'}"]
    out.arguments += ["-o", f"IdentityAgent={option_path(socket) if socket else 'none'}"]
    out.arguments += ["-o", f"IdentitiesOnly={'no' if socket else 'yes'}"]
    if out.environment:
        out.environment["SSH_ASKPASS"] = str(_ASKPASS)
        out.environment["SSH_ASKPASS_REQUIRE"] = "force"
    else:
        out.arguments += ["-o", "BatchMode=yes"]
    if connection.host_key is not None:
        # The alias keeps addresses, ports and brackets out of the match.
        known = " ".join(connection.host_key.split()[:2])
        out.arguments += ["-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=server"]
        out.arguments += ["-o", f"UserKnownHostsFile={held('known-hosts', f'server {known}' + chr(10))}"]
    else:
        # As the official plugin: without `hostKey` any key will do. Configurations always set it.
        out.arguments += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return out


def ssh_program() -> str:
    """The path of ssh. Raises DialError when it is not installed."""
    found = shutil.which("ssh")
    if found is None:
        raise DialError("ssh is not installed: apt-get install openssh-client")
    return found


def dial(
    connection: Connection, control: Path, held: Credentials, op: Operation, proxy: Callable[[], Path] | None
) -> None:
    """Open the connection; on return a master listens at `control`.

    Args:
        held: the connection's `credentials`.
        proxy: gives the control socket of a live connection to the proxy, when there is one.

    Raises:
        DialError: after more failures than `dial_error_limit`; at once where no further dial can mend it
            (HostKeyError, PrivateKeyError, NoCredentialsError).
        Cancelled: the engine cancelled.
    """
    delay, failures = _FIRST_DELAY, 0
    limit = connection.dial_error_limit
    allowed = "inf" if limit <= UNLIMITED else str(limit)
    while True:
        error = _once(connection, control, held, op, proxy() if proxy else None)
        if error is None:
            return
        if isinstance(error, _FINAL):
            raise error
        failures += 1
        if limit > UNLIMITED and failures > limit:
            tries = "1 failed dial" if failures == 1 else f"{failures} failed dials"
            raise DialError(f"{connection.label}: after {tries}: {error}")
        op.status(f"Dial {failures}/{allowed} failed: {error}: retrying")
        if op.cancellation.wait(delay):
            raise Cancelled(f"{connection.label}: cancelled while connecting; the last error was: {error}")
        delay = min(delay * _DELAY_FACTOR, _LONGEST_DELAY)


def _once(
    connection: Connection, control: Path, held: Credentials, op: Operation, proxy_control: Path | None
) -> DialError | None:
    arguments = [
        ssh_program(),
        "-F",
        "none",
        "-f",
        "-N",
        "-T",
        "-p",
        str(connection.port),
        "-l",
        connection.user,
    ]
    for option in (
        "ControlMaster=yes",
        f"ControlPath={option_path(control)}",
        f"ControlPersist={_IDLE_SECONDS}",
        f"ConnectTimeout={connection.per_dial_timeout or 'none'}",
        f"ServerAliveInterval={_ALIVE_SECONDS}",
        f"ServerAliveCountMax={_ALIVE_PROBES}",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "CheckHostIP=no",
        "NumberOfPasswordPrompts=1",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        # A master forwards the variables its clients name only if its own SendEnv allows them.
        "SendEnv=*",
        "LogLevel=ERROR",
    ):
        arguments += ["-o", option]
    arguments += held.arguments
    if proxy_control is not None:
        words = [ssh_program(), "-F", "none", "-S", str(proxy_control), "-o", "BatchMode=yes"]
        hop = shlex.join(words).replace("%", "%%") + " -W [%h]:%p proxy"
        arguments += ["-o", f"ProxyCommand={hop}"]
    arguments += ["--", connection.host]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
    # A file, not a pipe: a proxy's ssh inherits it and lives as long as the connection.
    errors = memory_file("ssh-errors", b"")
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**environment, **held.environment},
            start_new_session=True,
        )
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        # Without a limit on the dial, only a cancellation ends it.
        limit = connection.per_dial_timeout + _LOGIN_SECONDS
        timer = threading.Timer(limit, give_up)
        timer.daemon = True
        if connection.per_dial_timeout:
            timer.start()
        try:
            with op.cancellation.calling(process.kill):
                process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        stderr = os.pread(errors, 65536, 0)
    finally:
        os.close(errors)
    if op.cancellation.is_set():
        raise Cancelled(f"{connection.label}: cancelled while connecting")
    if late.is_set():
        return DialError(f"no login within {limit} s")
    if process.returncode == 0:
        return None
    return _explain(connection, stderr.decode(errors="replace"))


def _explain(connection: Connection, stderr: str) -> DialError:
    """The one thing to tell about a failed dial, from what ssh wrote."""
    lowered = stderr.lower()
    if connection.host_key is not None and any(words in lowered for words in _HOST_KEY_WORDS):
        shown = re.search(r"SHA256:\S+", stderr)
        got = f" (it shows {shown.group(0).rstrip('.')})" if shown else ""
        return HostKeyError(
            f"{connection.label}: the server's host key is not the one in connection.hostKey{got}. "
            "If the server was installed anew, put its new key there: "
            f"ssh-keyscan -p {connection.port} {connection.host}; otherwise somebody stands in between"
        )
    if "load key" in lowered and ("invalid format" in lowered or "error in libcrypto" in lowered):
        return _bad_key(connection, "it is not a private key that ssh can read")
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("@")]
    if "permission denied" in lowered and (known := _refused(connection, lines[-1])):
        return known
    return DialError(lines[-1] if lines else "ssh ended without a message")


def _refused(connection: Connection, said: str) -> DialError | None:
    """Why the server had to refuse us, where that can be told on this machine.

    The official plugin finds the same before it dials: it reads the key and asks the agent itself.
    """
    if connection.password is not None:
        return None
    if connection.private_key is not None:
        # A passphrase is never an argument of a program, so a key that has one is not looked at.
        problem = key_problem(connection.private_key) if connection.private_key_password is None else ""
        return _bad_key(connection, problem) if problem else None
    problem = agent_problem(connection.agent_socket)
    if not problem:
        return None
    return NoCredentialsError(
        f"{said} {connection.label}: there is no key for it: {problem}; "
        'type: eval "$(ssh-agent)"; ssh-add KEYFILE, or set connection.privateKey'
    )


def _bad_key(connection: Connection, problem: str) -> PrivateKeyError:
    return PrivateKeyError(
        f"{connection.label}: connection.privateKey cannot be used: {problem} (an encrypted one needs "
        "connection.privateKeyPassword, or the SSH agent: ssh-add KEYFILE); try it: ssh-keygen -y -f KEYFILE"
    )
