"""The `connection` input: how a server is reached, and which connections may be shared."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.values import Value, has_unknown, reveal

# Defaults of the plugin's published schema.
DEFAULTS: dict[str, Value] = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
SECRETS = ("password", "privateKey", "privateKeyPassword")
UNLIMITED = -1


@dataclass(frozen=True)
class Connection:
    """One server as the other end of SSH.

    Attributes:
        host, port, user: whom to reach.
        private_key, private_key_password, password, agent_socket: how to prove who we are.
        host_key: the server's public key ("ssh-ed25519 AAAA..."); None: any key is accepted.
        dial_error_limit: failed dials that are forgiven; `UNLIMITED` for any number.
        per_dial_timeout: seconds for one dial; 0: no limit.
        proxy: a server to go through.
    """

    host: str
    port: int = 22
    user: str = "root"
    private_key: str | None = None
    private_key_password: str | None = None
    password: str | None = None
    agent_socket: str | None = None
    host_key: str | None = None
    dial_error_limit: int = 10
    per_dial_timeout: int = 15
    proxy: Connection | None = None

    def __repr__(self) -> str:
        return f"Connection({self.user}@{self.host}:{self.port})"

    @property
    def label(self) -> str:
        """user@host:port, for messages."""
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def key(self) -> str:
        """Equal for connections that may share one SSH connection: all but the dial limits."""
        parts = [
            self.host,
            str(self.port),
            self.user,
            self.private_key or "",
            self.private_key_password or "",
            self.password or "",
            self.agent_socket or "",
            self.host_key or "",
            self.proxy.key if self.proxy else "",
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def parse(value: Value) -> Connection:
    """The connection of a resource's properties, as checked by `schema`.

    Raises:
        ProviderError: something needed is missing or not known.
    """
    fields = reveal(value)
    if not isinstance(fields, Mapping):
        raise ProviderError("connection: missing")
    if has_unknown(fields):
        raise ProviderError("connection: holds a value that is not known yet")
    known = {**DEFAULTS, **{key: item for key, item in fields.items() if item is not None}}
    if not known.get("host"):
        raise ProviderError("connection.host: missing")
    return Connection(
        host=str(known["host"]),
        port=int(known["port"]),
        user=str(known["user"]),
        private_key=known.get("privateKey"),
        private_key_password=known.get("privateKeyPassword"),
        password=known.get("password"),
        agent_socket=known.get("agentSocketPath") or _ambient_agent(known),
        host_key=known.get("hostKey"),
        dial_error_limit=int(known["dialErrorLimit"]),
        per_dial_timeout=int(known["perDialTimeout"]),
        proxy=parse(known["proxy"]) if known.get("proxy") is not None else None,
    )


def _ambient_agent(fields: Mapping[str, Value]) -> str | None:
    # With a key or password of its own a connection leaves the operator's agent alone: an agent with many
    # keys would use up the server's MaxAuthTries before ours is offered.
    if fields.get("privateKey") or fields.get("password"):
        return None
    return os.environ.get("SSH_AUTH_SOCK") or None
