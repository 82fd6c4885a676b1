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
    """``hosts``: the servers of ``env`` that get a proxy. ``services``: what is linked, each under a port of
    its own.

    Raises ``ValueError`` for two services of one name or one port.
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
    """HAProxy on each server, listening on the port of every linked service and leading to healthy members.

    A server's configuration is one file for each service; a file that HAProxy refuses changes nothing.

    - ``services``: what is linked. ``applied``: the resources after which the ports are open.
    """

    services: list[LinkedService]
    applied: list[HostService]

    def __init__(self, name: str, args: LinkProxiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.services = list(args.services)
        self.applied = []
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
                self.child(depends_on=[host, *args.env.first_alone(self.applied)]),
            )
            self.applied.append(one)
        self.register_outputs({})
