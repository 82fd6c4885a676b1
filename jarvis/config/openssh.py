"""Command lines of OpenSSH's client, for what the program itself asks servers.

Everything else reaches servers by Pulumi's plugin, which has an SSH client of its own.
"""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jarvis.config.access import bastion_key_file, key_file, private_key, user
from jarvis.config.environment import Environment
from jarvis.config.load import PROJECT
from jarvis.config.server import Server
from jarvis.core.credentials import option_path

# The bastion's name among the known hosts. No server's name has a dot.
_BASTION = "the.bastion"


@dataclass(frozen=True, kw_only=True)
class Client:
    """Makes the ``ssh`` command lines for the servers of ``env``.

    Attributes:
        env: the environment.
        private: folder that only the user can read, for known hosts and copies of keys.
        project: folder that the paths of keys are relative to.
        seconds: time for the server, and for the bastion, to accept the connection.
    """

    env: Environment
    private: Path
    project: Path
    seconds: int
    _copies: dict[str, Path] = field(default_factory=dict)

    def command(self, server: Server, line: str) -> list[str]:
        """The words that run the command line ``line`` on ``server``.

        Key or agent, port, user and bastion are the configuration's, and the host key is checked. OpenSSH
        asks the operator for nothing.
        """
        env = self.env
        options = self._options(server.name, key_file(env, server))
        port = str(server.port or env.ssh.port)
        bastion = env.ssh.bastion
        if bastion is not None:
            hop = [
                *("ssh", "-F", "none", "-T"),
                *self._options(_BASTION, bastion_key_file(env)),
                *("-p", str(bastion.port), "-l", bastion.user or env.ssh.user),
                *("-W", f"{server.address}:{port}", bastion.host),
            ]
            options += ["-o", f"ProxyCommand={shlex.join(hop).replace('%', '%%')}"]
        return [
            *("ssh", "-F", "none", "-T"),
            *options,
            *("-p", port, "-l", user(env, server), str(server.address), line),
        ]

    def _options(self, alias: str, key: str | None) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(self.seconds),
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": alias,
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": option_path(self.private / "known_hosts"),
            **({"IdentitiesOnly": "yes", "IdentityFile": option_path(self._key(key))} if key else {}),
        }
        return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _key(self, key: str) -> Path:
        """Path of the key file, or of a copy that OpenSSH accepts.

        Unlike the plugin it refuses a key that others can read, and one whose last line has no end.
        """
        path = self.project / key
        text = private_key(key, self.project) or ""
        whole = text.replace("\r\n", "\n").rstrip("\n") + "\n"
        if text == whole and not path.stat().st_mode & 0o077:
            return path
        if key not in self._copies:
            copy = self.private / f"key-{len(self._copies)}"
            copy.touch(mode=0o600)
            copy.write_text(whole, encoding="utf-8")
            self._copies[key] = copy
        return self._copies[key]


@contextmanager
def openssh(env: Environment, seconds: int, project: Path = PROJECT) -> Iterator[Client]:
    """A client for the servers of ``env``, whose private folder is removed afterwards.

    Args:
        env: the environment.
        seconds: time for a server to accept the connection.
        project: folder that the paths of keys are relative to.
    """
    with tempfile.TemporaryDirectory(prefix="jarvis-ssh-") as folder:
        keys = {server.name: server.host_key for server in env.servers}
        if env.ssh.bastion:
            keys[_BASTION] = env.ssh.bastion.host_key
        client = Client(env=env, private=Path(folder), project=project, seconds=seconds)
        known_hosts = client.private / "known_hosts"
        known_hosts.write_text("".join(f"{name} {key}\n" for name, key in keys.items()), encoding="utf-8")
        yield client


async def said(words: Sequence[str], stdin: bytes = b"") -> tuple[bytes, bytes] | str:
    """Output and errors of a command line of ``Client``, or why it failed.

    Whoever is cancelled meanwhile leaves no process behind.

    Args:
        words: the command line.
        stdin: what the command reads.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    try:
        output, errors = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return (output, errors) if process.returncode == 0 else last_line(errors)


def last_line(errors: bytes) -> str:
    """The last line that ``ssh`` wrote to standard error: why it failed."""
    lines = errors.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no answer")
