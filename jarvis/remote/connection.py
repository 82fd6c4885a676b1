"""How a server is reached, and what ends with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi
import pulumi_command as command

from jarvis.remote.sudo import as_root

# A server that answers at all accepts within this time; under load, or far away, the next dial finds it.
DIAL_SECONDS = 5
# Where `patience` is asked for, as many times as long, up to the plugin's own default.
_LONGEST_DIAL_SECONDS = 15
# Between failed dials both plugins wait, as pulumi's retry.Until does: seconds, growing by half, up to five.
_FIRST_DELAY, _DELAY_FACTOR, _LONGEST_DELAY = 0.1, 1.5, 5.0
# What a stack that exists keeps of these (see Target.kept): inputs of every remote resource.
_LIMITS = ("dialErrorLimit", "perDialTimeout")


def dial_limits(wait: int, patience: int = 1) -> tuple[int, int]:
    """How many failed dials are forgiven, and the seconds of one dial, so that a server that answers nothing
    at all is given up within ``wait`` seconds.

    Of a server that refuses connections a dial takes no time: it is given up sooner.
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
    """The server through which others are reached; fields as those of ``Target``."""

    host: str
    host_key: str
    user: str
    port: int = 22
    private_key: pulumi.Input[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server as the other end of SSH.

    - ``server``: its name, for resource names and errors.
    - ``host``: IP address. ``port``: TCP port of sshd. ``user``: login name, root or one with its rights.
    - ``sudo``: the user is another than root, and may become root by ``sudo`` without a password.
    - ``private_key``: OpenSSH or PEM private key, as a secret; ``None`` uses the operator's SSH agent.
    - ``host_key``: the server's public key in known_hosts form (``ssh-ed25519 AAAA…``). It is always
      checked, so a changed or wrong key is an error of the connection, never trusted silently.
    - ``bastion``: the server to go through, or ``None``.
    - ``patience``: how many times as long as on a usual server anything may take there.
    - ``wait``: seconds that the server is waited for at most when it does not answer.
    - ``keep_limits``: a resource that exists keeps the limits it has. They are inputs of each remote
      resource: other defaults would otherwise show as a change of all of a stack that nobody changed.
    - ``gone_with``: the resource that stands for the server; when it is deleted, nothing is run there.
    - ``seen``: by role, lines of what was last found on the server that is another than what was deployed.
      They stand in the text of the role's command, which so changes when there is something new.
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
        """The same target, whose commands are forgotten rather than undone once ``resource`` is deleted."""
        return replace(self, gone_with=resource)

    def as_root(self, text: str) -> str:
        """The command line that runs the command line ``text`` as root there."""
        return as_root(text) if self.sudo else text

    @property
    def kept(self) -> list[str] | None:
        """The inputs, as property paths, that a resource which exists keeps as they are."""
        return [f"connection.{name}" for name in _LIMITS] if self.keep_limits else None

    def connection(self) -> command.remote.ConnectionArgs:
        """The plugin's connection."""
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
