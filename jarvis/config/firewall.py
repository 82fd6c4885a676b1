"""The configuration of the servers' firewall."""

from __future__ import annotations

from pydantic import Field

from jarvis.config.types import Network, Port, Section


class Firewall(Section):
    """What the servers accept beyond what they need of each other (``jarvis/hosts/firewall.py``).

    HTTPS and the Kubernetes API are open to everyone.
    """

    operators: list[Network] = Field(
        default_factory=list,
        description="networks that deploy from: SSH, and pushes to the registry; none: from anywhere",
    )
    clients: list[Network] = Field(
        default_factory=list,
        description="networks outside that may use stateful services under the virtual address",
    )
    ports: dict[Port, list[Network]] = Field(
        default_factory=dict,
        description="further TCP ports of all servers, such as an agent's, and the networks each is open to",
    )
