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
    """``server``: the one that is gone. ``survivor``: one that is there."""

    server: Server
    survivor: Host


class _Tools(Component, token="remote:ServerTools"):
    """Where the command that emptied the server has its place in the state."""


class LostServer(Component, token="hosts:Host"):
    """Lets all that was on a server be forgotten, with no command to it.

    The server's ``Host`` is no more in the program, and with it end the roles (``deleted_with``). One
    command remains that would be run there: what empties a server that leaves (``ServerTools``). Its resource
    is kept, by the name and types that it has in the state, and led to another server: an update, which does
    nothing there, and leaves nothing to be undone. So a lost server may go from the configuration later
    without a word to it, or come back: the resource is then led to it again.
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
