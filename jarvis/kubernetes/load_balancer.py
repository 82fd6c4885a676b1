"""Each server's proxy to the API servers: a HAProxy that notices when one of them is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.core.text import fill_beside, read_beside
from jarvis.kubernetes.identity import Identities, credentials
from jarvis.remote import File, HostService, HostServiceArgs
from jarvis.remote.script import read_file

if TYPE_CHECKING:
    from jarvis.hosts import Host

# A command that succeeds when one of the API servers ADDRESS:PORT, its arguments, is ready.
READY = "/var/lib/jarvis/bin/apiserver-ready"
# A command that succeeds when ADDRESS PORT accepts connections.
PORT_OPEN = "/var/lib/jarvis/bin/port-open"
LOCAL_ADDRESS, LOCAL_PORT = "127.0.0.1", 7443
HEALTH = "/etc/kubernetes/health"
FOLDER = "/etc/kubernetes/apiserver-proxy"


def haproxy_config(
    servers: Sequence[tuple[str, str]], *, public_port: int | None = None, patience: int = 1
) -> str:
    """HAProxy's configuration for the API servers.

    TLS passes through untouched. Health checks ask /readyz with a client certificate.

    Args:
        servers: name and ``address:port`` of each API server.
        public_port: further port to listen on, for a server that may hold the virtual address and runs no API
            server.
        patience: factor for the time that a response may take.
    """
    lines = [f"  server {name} {address}" for name, address in servers]
    public = f"  bind 0.0.0.0:{public_port}\n" if public_port else ""
    return fill_beside(
        __file__,
        "apiserver-proxy.cfg",
        lines={"public": public, "servers": "\n".join(lines)},
        local=f"{LOCAL_ADDRESS}:{LOCAL_PORT}",
        folder=FOLDER,
        connect=str(2 * patience),
        check=str(3 * patience),
        interval=str(patience),
    )


@dataclass(frozen=True, kw_only=True)
class ApiServerProxyArgs:
    """The proxy of one server.

    Attributes:
        host: the server.
        identities: certificates of the cluster.
        servers: name and ``address:port`` of every API server.
        public_port: see ``haproxy_config``.
        after: proxies that change before this one.
    """

    host: Host
    identities: Identities
    servers: Sequence[tuple[str, str]]
    public_port: int | None = None
    after: Sequence[pulumi.Resource] = ()


class ApiServerProxy(HostService):
    """HAProxy on one server's 127.0.0.1:7443, with the command that asks an API server for readiness."""

    def __init__(
        self, name: str, args: ApiServerProxyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        ca, health = args.identities.authority.certificate, args.identities.health
        clear, secret = credentials(HEALTH, ca, health)
        config = haproxy_config(
            args.servers, public_port=args.public_port, patience=args.host.target.patience
        )
        super().__init__(
            name,
            "apiserver-proxy",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    File(
                        path="/etc/systemd/system/jarvis-apiserver-proxy.service",
                        content=read_beside(__file__, "apiserver-proxy.service"),
                    ),
                    File(path=f"{FOLDER}/haproxy.cfg", content=config),
                    File(path=f"{FOLDER}/ca.crt", content=ca),
                    *(
                        File(path=path, content=read_file(f"kubernetes/{script}"), mode="0755")
                        for path, script in ((READY, "apiserver-ready.sh"), (PORT_OPEN, "port-open.sh"))
                    ),
                    *clear,
                ],
                secret_files=[
                    # HAProxy wants certificate and key in one file.
                    File(
                        path=f"{FOLDER}/client.pem",
                        content=pulumi.Output.concat(health.chain, health.key),
                        mode="0600",
                    ),
                    *secret,
                ],
                units=["jarvis-apiserver-proxy.service"],
                ready=f"{PORT_OPEN} {LOCAL_ADDRESS} {LOCAL_PORT}",
                reload=True,
            ),
            opts,
            depends_on=[args.host, *args.after],
        )
