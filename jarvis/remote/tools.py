"""The scripts that must be on a server before any role is applied there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pulumi
import pulumi_command as command

from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.remote.connection import Target
from jarvis.remote.program import shipped
from jarvis.remote.script import command_options, read_file
from jarvis.remote.service import APPLY

# Beside /var/lib/jarvis and not below it: the plugin makes one folder, and no parents of it.
SCRIPTS = "/var/lib/jarvis-scripts"
# A user who is not root copies as itself, so the folder is its own, one that was there before too. Each role
# checks the digest of what it takes, after it has copied it.
_OWN = 'install -d -m 0755 {scripts} && chown -R "$SUDO_UID:$SUDO_GID" {scripts}'
_DISOWN = "[ ! -d {scripts} ] || chown -R root:root {scripts}"
_INSTALL = (
    "set -eu; {refusal}umask 022; echo '{digest}  {scripts}/apply.sh' | sha256sum --check --status"
    " || {{ echo 'error: the scripts of this server are not complete; type: pulumi up' >&2; exit 1; }};"
    " mkdir -p {folder}; temporary=$(mktemp {folder}/.apply.XXXXXXXX);"
    ' cat {scripts}/apply.sh >"$temporary"; chmod 0755 "$temporary"; mv -T "$temporary" {path}'
)


class ServerTools(Component, token="remote:ServerTools", former="remote:ApplyTool"):
    """Brings scripts and programs (``jarvis.remote.program``) to a server; ``apply.sh`` becomes ``APPLY``.

    Every ``HostService`` there depends on it, and takes its scripts from there: the state has their digests
    instead of their text once a role and server. The copy is only a stage, overwritten file by file; each
    role checks the digest of what it takes, and puts it in place by rename.

    Destroying it removes all roles that are on the server still, the last applied first, and
    ``/var/lib/jarvis``: one connection cleans a server. (The roles' own resources end with the server and so
    are forgotten rather than deleted when all of it goes.)
    A user who becomes root by sudo gets the folder first.
    ``after`` are the resources that must exist first, such as the preflight of every server.
    ``refusal`` is a command line that fails where nothing may be installed, and ``undo`` makes the command
    line that removes all into one that knows where it may. It is protected: what is deleted with it is the
    server with its data. What was found of ``APPLY`` itself is the target's ``seen`` of the role ``apply``.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        after: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
        *,
        refusal: pulumi.Output[str] | None = None,
        undo: Callable[[str], pulumi.Output[str]] = pulumi.Output.from_input,
    ) -> None:
        super().__init__(name, opts)
        first = list(after)
        if target.sudo:
            own = command.remote.Command(
                f"{name}-folder",
                connection=target.connection(),
                create=target.as_root(_OWN.format(scripts=SCRIPTS)),
                delete=target.as_root(_DISOWN.format(scripts=SCRIPTS)),
                add_previous_output_in_env=False,
                # Its undoing is for who goes on without sudo. A server that leaves loses the folder, and one
                # that is lost is asked nothing.
                opts=self.child(
                    **command_options(target.ending_with(opts.parent) if opts and opts.parent else target),
                    depends_on=first or None,
                ),
            )
            first = [own]
        scripts = command.remote.CopyToRemote(
            name,
            connection=target.connection(),
            # With the slash its content is copied, and not the folder.
            source=pulumi.FileArchive(f"{shipped()}/"),
            remote_path=SCRIPTS,
            opts=self.child(**command_options(target), depends_on=first or None),
        )
        digest = read_file("apply.sh").digest
        folder = APPLY.rpartition("/")[0]
        seen = "".join(f"\n# seen {line}" for line in target.seen.get("apply", ()))
        command.remote.Command(
            name,
            connection=target.connection(),
            create=(refusal or pulumi.Output.from_input("")).apply(
                lambda line: target.as_root(
                    _INSTALL.format(
                        refusal=f"{line}; " if line else "",
                        folder=folder,
                        path=APPLY,
                        scripts=SCRIPTS,
                        digest=digest,
                    )
                    + seen
                )
            ),
            delete=undo(f"[ ! -x {APPLY} ] || {APPLY} --remove-all; rm -rf {SCRIPTS}").apply(target.as_root),
            add_previous_output_in_env=False,
            opts=self.child(
                **command_options(target),
                depends_on=[scripts],
                protect=guard(
                    name, f"the server {target.server}, with all that Jarvis put there", target.server
                ),
            ),
        )
        self.register_outputs({})
