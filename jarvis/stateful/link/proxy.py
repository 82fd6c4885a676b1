"""The proxies of all links: one HAProxy on every server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment
from jarvis.core.component import Component
from jarvis.core.text import read_beside
from jarvis.remote import File, HostService, HostServiceArgs
from jarvis.remote.script import read_file
from jarvis.stateful.link.service import LinkedService, fragment

if TYPE_CHECKING:
    from jarvis.hosts import Host

FOLDER = "/etc/jarvis/link.d"
ACTIVE = "/var/lib/jarvis/link"
TOOL = "/var/lib/jarvis/bin/link"
UNIT = "jarvis-link.service"


@dataclass(frozen=True, kw_only=True)
class LinkProxiesArgs:
    """The linked services, and the servers that get a proxy to them.

    Attributes:
        env: the environment.
        hosts: the servers.
        services: linked services, each with a port of its own.

    Raises:
        ValueError: two services share a name or a port.
    """

    env: Environment
    hosts: Sequence[Host]
    services: Sequence[LinkedService]

    def __post_init__(self) -> None:
        for field in ("name", "port"):
            found = [getattr(service, field) for service in self.services]
            twice = sorted({str(one) for one in found if found.count(one) > 1})
            if twice:
                raise ValueError(f"two links have the {field} {', '.join(twice)}")


class LinkProxies(Component, token="stateful:LinkProxies"):
    """HAProxy on each server, which forwards the port of every linked service to healthy members.

    A server's configuration is one file for each service. A file that HAProxy rejects changes nothing.

    Attributes:
        services: the linked services.
        ready: the roles after which the ports are open.
    """

    services: list[LinkedService]
    ready: list[HostService]

    def __init__(self, name: str, args: LinkProxiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.services = list(args.services)
        self.ready = []
        for host in args.hosts:
            one = HostService(
                f"{name}-{host.server.name}",
                "links",
                HostServiceArgs(
                    target=host.target,
                    files=[
                        File(
                            path=f"/etc/systemd/system/{UNIT}", content=read_beside(__file__, "link.service")
                        ),
                        File(path=TOOL, content=read_file("link/link.sh"), mode="0755"),
                        File(path=f"{FOLDER}/00-common.cfg", content=read_beside(__file__, "common.cfg")),
                        *(
                            File(path=f"{FOLDER}/{service.name}.cfg", content=fragment(service))
                            for service in self.services
                        ),
                    ],
                    before=[f"{TOOL} accept"],
                    units=[UNIT],
                    ready=f"{TOOL} listening {' '.join(str(service.port) for service in self.services)}",
                    reload=True,
                    purge=[ACTIVE],
                ),
                self.child(depends_on=[host, *args.env.first_alone(self.ready)]),
            )
            self.ready.append(one)
        self.register_outputs({})
