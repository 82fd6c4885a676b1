"""A server that is gone for good."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_command as command

from jarvis.config import Server
from jarvis.core.component import Component
from jarvis.hosts.host import Host
from jarvis.remote.script import command_options


@dataclass(frozen=True, kw_only=True)
class LostServerArgs:
    """A lost server, and another one that stands in for it.

    Attributes:
        server: the server that is gone.
        survivor: a server that is there.
    """

    server: Server
    survivor: Host


class _Tools(Component, token="remote:ServerTools"):
    """The place in the state of the command that emptied the lost server."""


class LostServer(Component, token="hosts:Host"):
    """Forgets everything that was on a server, without a connection to it.

    The program has no ``Host`` for the server any more, and the roles end with it (``deleted_with``). One
    command remains that would run there on deletion: the one that empties a leaving server (``ServerTools``).
    Its resource is kept under the name and types that it has in the state, and pointed at the survivor: an
    update that does nothing there and leaves nothing to undo. The lost server may then leave the
    configuration later without being dialled, or come back, when the resource is pointed at it again.
    """

    def __init__(self, name: str, args: LostServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        target = args.survivor.target
        tools = f"{args.server.name}-apply"
        place = _Tools(tools, self.child())
        command.remote.Command(
            tools,
            connection=target.connection(),
            create=f"exec true # {args.server.name} is lost",
            add_previous_output_in_env=False,
            opts=place.child(**command_options(target), depends_on=[args.survivor.base_ready]),
        )
        self.register_outputs({})
