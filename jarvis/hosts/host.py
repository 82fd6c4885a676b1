"""A server that is ready for its roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi

from jarvis.config import Environment, Server, ServerRole
from jarvis.config.artifacts import Release
from jarvis.core.component import Component
from jarvis.hosts import firewall
from jarvis.hosts.base import RELEASE_TOOL, STAGING, TOOL, base_files, packages
from jarvis.hosts.deployment import refusal, unless_foreign
from jarvis.hosts.preflight import Preflight, target
from jarvis.remote import (
    File,
    HostService,
    HostServiceArgs,
    ServerTools,
    Target,
    Transfer,
    TransferArgs,
)
from jarvis.remote.script import read_file
from jarvis.remote.tools import SCRIPTS

# Seconds. Packages come over the server's own line to Debian, which may be slow. The base role has
# neither gate nor ready that would take as long.
_INSTALL_TIMEOUT = 900


def without_swap(env: Environment, server: Server) -> bool:
    """Whether ``server`` must have no swap: it has a kubelet that is not told to tolerate swap."""
    return ServerRole.WORKER in server.roles and env.kubernetes.kubelet.get("failSwapOn", True) is not False


@dataclass(frozen=True, kw_only=True)
class HostArgs:
    """A server and what it needs before any role.

    Attributes:
        server: its configuration.
        env: the environment.
        release: the host release that it runs.
        preflight: preflight of all servers, which passes before any of them changes.
        after: hosts that change before this one, if any.
        seen: see ``Target``.
    """

    server: Server
    env: Environment
    release: Release
    preflight: Preflight
    after: Sequence[Host] = ()
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Host(Component, token="hosts:Host"):
    """A server with packages, users, kernel settings, names, and the host release merged.

    Roles of the server run by ``target``, which ends with the host. Deleting the host undoes all of them in
    one connection.

    Attributes:
        base_ready: the base role. After it the server is prepared, and its firewall accepts whom it should.
        release_ready: the release role. After it the binaries of the release are there.
        server: the server's configuration.
        target: the server as the remote end of SSH.
        release: digest of the host release. A role whose units run from the release has it among its
            ``inputs``.
    """

    base_ready: HostService
    release_ready: HostService
    server: Server
    target: Target
    release: str

    def __init__(self, name: str, args: HostArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env, server = args.env, args.server
        bare = replace(target(env, server), seen=args.seen)
        self.server = server
        self.target = bare.ending_with(self)
        self.release = args.release.sha256
        deployment = args.preflight.deployment
        # Preflight checks this too, but runs again only when its arguments change.
        accepted = [server.take_over] if server.take_over else []
        tool = ServerTools(
            f"{name}-apply",
            bare,
            (args.preflight.ready,),
            self.child(),
            refusal=deployment.apply(lambda known: refusal(name, known, accepted)),
            undo=lambda line: deployment.apply(lambda known: unless_foreign(known, line)),
        )
        self.base_ready = HostService(
            f"{name}-base",
            "base",
            HostServiceArgs(
                target=self.target,
                files=base_files(env, server, deployment),
                before=[
                    f"{TOOL} setup {' '.join(packages(server))}",
                    *([f"{TOOL} without-swap"] if without_swap(env, server) else []),
                    f"{firewall.TOOL} check {firewall.operator_networks(env)}".rstrip(),
                ],
                units=[firewall.UNIT],
                reload=True,
                after=[f"{firewall.TOOL} keep"],
                undo=[f"{firewall.TOOL} down", f"{TOOL} remove"],
                timeout=_INSTALL_TIMEOUT,
                purge=[STAGING],
            ),
            self.child(depends_on=[tool, *(host.base_ready for host in args.after)]),
        )
        # A user who is not root writes to its own folder, and the image becomes root's before it is checked.
        staged = f"{SCRIPTS if self.target.sudo else STAGING}/release.raw"
        taken = [f"[ ! -f {staged} ] || chown root:root {staged}"] if self.target.sudo else []
        image = Transfer(
            f"{name}-release-image",
            TransferArgs(
                target=self.target, source=args.release.path, sha256=args.release.sha256, path=staged
            ),
            self.child(depends_on=[self.base_ready]),
        )
        self.release_ready = HostService(
            f"{name}-release",
            "release",
            HostServiceArgs(
                target=self.target,
                files=[File(path=RELEASE_TOOL, content=read_file("release.sh"), mode="0755")],
                before=[*taken, f"{RELEASE_TOOL} activate {self.release} {staged}"],
                undo=[f"{RELEASE_TOOL} remove"],
            ),
            self.child(depends_on=[image, *(host.release_ready for host in args.after)]),
        )
        self.register_outputs({"release": self.release})
