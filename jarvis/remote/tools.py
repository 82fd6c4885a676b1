"""The one script that must be on a server before any role is applied there."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_command as command

from jarvis.core.component import Component
from jarvis.remote.connection import Target
from jarvis.remote.script import command_options, read_file
from jarvis.remote.service import APPLY

_INSTALL = (
    "set -eu; umask 022; mkdir -p {folder}; temporary=$(mktemp {folder}/.apply.XXXXXXXX); "
    'cat >"$temporary"; chmod 0755 "$temporary"; mv -T "$temporary" {path}'
)


class ApplyTool(Component, token="remote:ApplyTool"):
    """Installs ``jarvis/files/apply.sh`` on a server as ``APPLY``; every ``HostService`` there depends on it.

    Destroying it removes all roles that are on the server still, the last applied first, and
    ``/var/lib/jarvis``: one connection cleans a server. (The roles' own resources end with the server and so
    are forgotten rather than deleted when all of it goes.)
    ``after`` are the resources that must exist first, such as the preflight of every server.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(name, opts)
        folder = APPLY.rpartition("/")[0]
        command.remote.Command(
            name,
            connection=target.connection(),
            create=_INSTALL.format(folder=folder, path=APPLY),
            delete=f"[ ! -x {APPLY} ] || {APPLY} --remove-all",
            stdin=read_file("apply.sh"),
            add_previous_output_in_env=False,
            opts=command_options(self, target, depends_on=after),
        )
        self.register_outputs({})
