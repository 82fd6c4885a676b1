"""The role of servers with an HTTP gateway, one of which has the virtual address."""

from __future__ import annotations

from jarvis.roles.control_plane import KUBERNETES_API
from jarvis.roles.model import HostRole, Listens, Opening, Setting, Source

ROLE = HostRole(
    name="gateway",
    required=True,
    needs=("worker",),
    packages=("keepalived",),
    listens=(
        # On gateways without an API server the proxy serves the API under the virtual address.
        Listens(whose="the proxy to the API servers", ports=(6443,), opening=KUBERNETES_API, always=False),
        Listens(
            whose="the gateway",
            ports=(Setting("gateway", "https_port"),),
            opening=Opening(use="HTTP gateway", sources=(Source.EVERYONE,)),
            # A worker may become a gateway later.
            also_on=("worker",),
        ),
    ),
    secrets=("gateway", "gateway-certificate"),
)
