"""How a server is reached, and what ends with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pulumi
import pulumi_command as command

# A server that answers at all accepts within this time; sshd's own LoginGraceTime is far longer.
DIAL_TIMEOUT_SECONDS = 15
# sshd drops connections at random past MaxStartups (10 by default, sshd_config(5)): try again.
DIAL_ATTEMPTS = 10
# The first command of a server waits for it to boot: 60 dials, with the plugin's backoff between them.
FIRST_DIAL_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server as the other end of SSH.

    - ``server``: its name, for resource names and errors.
    - ``host``: IP address. ``port``: TCP port of sshd. ``user``: login name, root or one with its rights.
    - ``private_key``: OpenSSH or PEM private key, as a secret; ``None`` uses the operator's SSH agent.
    - ``host_key``: the server's public key in known_hosts form (``ssh-ed25519 AAAA…``). It is always
      checked, so a changed or wrong key is an error of the connection, never trusted silently.
    - ``patience``: how many times as long as on a usual server anything may take there.
    - ``gone_with``: the resource that stands for the server; when it is deleted, nothing is run there.
    """

    server: str
    host: str
    host_key: str
    user: str = "root"
    port: int = 22
    private_key: pulumi.Input[str] | None = None
    agent_socket: str | None = None
    patience: int = 1
    gone_with: pulumi.Resource | None = None

    def ending_with(self, resource: pulumi.Resource) -> Target:
        """The same target, whose commands are forgotten rather than undone once ``resource`` is deleted."""
        return replace(self, gone_with=resource)

    def connection(self, *, first: bool = False) -> command.remote.ConnectionArgs:
        """The plugin's connection. ``first`` gives a server that is still booting the time to do so."""
        return command.remote.ConnectionArgs(
            host=self.host,
            port=float(self.port),
            user=self.user,
            private_key=self.private_key,
            agent_socket_path=self.agent_socket,
            host_key=self.host_key,
            per_dial_timeout=DIAL_TIMEOUT_SECONDS,
            dial_error_limit=FIRST_DIAL_ATTEMPTS if first else DIAL_ATTEMPTS,
        )
