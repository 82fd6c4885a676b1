"""SSH connections to servers: address, credentials, limits, and the lifetime of what runs there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi
import pulumi_command as command

from jarvis.remote.sudo import as_root

# Seconds of one dial. A server that is up accepts within this time; under load or far away a later dial
# succeeds.
DIAL_SECONDS = 5
# With `patience` a dial takes that many times as long, up to the plugin's own default.
_LONGEST_DIAL_SECONDS = 15
# Delays between failed dials, as in pulumi's retry.Until: the first, the factor, and the longest, in seconds.
_FIRST_DELAY, _DELAY_FACTOR, _LONGEST_DELAY = 0.1, 1.5, 5.0
# Inputs that an existing resource keeps (see Target.kept).
_LIMITS = ("dialErrorLimit", "perDialTimeout")


def dial_limits(wait: int, patience: int = 1) -> tuple[int, int]:
    """Limits of dialling by which a server that never answers is given up within ``wait`` seconds.

    A server that refuses connections is given up sooner, since such a dial takes no time.

    Args:
        wait: seconds to wait for the server at most.
        patience: factor for the time of one dial.

    Returns:
        How many failed dials are forgiven, and the seconds of one dial.
    """
    seconds = min(DIAL_SECONDS * patience, _LONGEST_DIAL_SECONDS, wait)
    failures, spent, delay = 0, float(seconds), _FIRST_DELAY
    while spent + delay + seconds <= wait:
        failures += 1
        spent += delay + seconds
        delay = min(delay * _DELAY_FACTOR, _LONGEST_DELAY)
    return failures, seconds


@dataclass(frozen=True, kw_only=True)
class Bastion:
    """The SSH jump host for all other servers. Fields are those of ``Target``."""

    host: str
    host_key: str
    user: str
    port: int = 22
    private_key: pulumi.Input[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server as the remote end of SSH.

    Attributes:
        server: its name, for resource names and errors.
        host: IP address.
        host_key: public key in known_hosts form (``ssh-ed25519 AAAA…``). Always checked: a changed or wrong
            key fails the connection and is never trusted silently.
        user: login name: root, or a user who may become root.
        sudo: the user is not root, and becomes root by ``sudo`` without a password.
        port: TCP port of sshd.
        private_key: private key in OpenSSH's or PEM form, as a secret; ``None`` uses the SSH agent.
        agent_socket: path of the agent's socket; ``None`` uses the one that the shell names.
        bastion: the jump host, or ``None``.
        patience: factor for every limit of waiting on this server.
        wait: seconds to wait at most for a server that does not answer.
        keep_limits: existing resources keep their dial limits. The limits are inputs of each remote resource,
            so new defaults would otherwise show as a change of every resource of a stack that nobody changed.
        gone_with: the resource that stands for the server; once it is deleted nothing runs there.
        seen: by host role, one line for each difference between what was deployed and what was last found on
            the server. The lines are part of the role's command, which so changes when a difference is new.
    """

    server: str
    host: str
    host_key: str
    user: str = "root"
    sudo: bool = False
    port: int = 22
    private_key: pulumi.Input[str] | None = None
    agent_socket: str | None = None
    bastion: Bastion | None = None
    patience: int = 1
    wait: int = 60
    keep_limits: bool = True
    gone_with: pulumi.Resource | None = None
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def ending_with(self, resource: pulumi.Resource) -> Target:
        """The same target, whose commands are forgotten, not undone, once ``resource`` is deleted."""
        return replace(self, gone_with=resource)

    def as_root(self, text: str) -> str:
        """The command line that runs the command line ``text`` as root on the server."""
        return as_root(text) if self.sudo else text

    @property
    def kept(self) -> list[str] | None:
        """Property paths of the inputs that an existing resource keeps as they are."""
        return [f"connection.{name}" for name in _LIMITS] if self.keep_limits else None

    def connection(self) -> command.remote.ConnectionArgs:
        """The connection in the plugin's terms."""
        failures, seconds = dial_limits(self.wait, self.patience)
        proxy = None
        if self.bastion is not None:
            proxy = command.remote.ProxyConnectionArgs(
                host=self.bastion.host,
                port=float(self.bastion.port),
                user=self.bastion.user,
                private_key=self.bastion.private_key,
                host_key=self.bastion.host_key,
                per_dial_timeout=seconds,
                dial_error_limit=failures,
            )
        return command.remote.ConnectionArgs(
            host=self.host,
            port=float(self.port),
            user=self.user,
            private_key=self.private_key,
            agent_socket_path=self.agent_socket,
            host_key=self.host_key,
            proxy=proxy,
            per_dial_timeout=seconds,
            dial_error_limit=failures,
        )
