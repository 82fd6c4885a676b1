"""The scripts that a server needs before any role is applied there."""

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

# Beside /var/lib/jarvis, not below it: the plugin makes the folder, and no parents.
SCRIPTS = "/var/lib/jarvis-scripts"
# A user who is not root copies as itself, and so must own the folder, an existing one too. Each role copies
# what it takes and checks its digest afterwards.
_OWN = 'install -d -m 0755 {scripts} && chown -R "$SUDO_UID:$SUDO_GID" {scripts}'
_DISOWN = "[ ! -d {scripts} ] || chown -R root:root {scripts}"
_INSTALL = (
    "set -eu; {refusal}umask 022; echo '{digest}  {scripts}/apply.sh' | sha256sum --check --status"
    " || {{ echo 'error: the scripts of this server are not complete; type: pulumi up' >&2; exit 1; }};"
    " mkdir -p {folder}; temporary=$(mktemp {folder}/.apply.XXXXXXXX);"
    ' cat {scripts}/apply.sh >"$temporary"; chmod 0755 "$temporary"; mv -T "$temporary" {path}'
)


class ServerTools(Component, token="remote:ServerTools"):
    """Copies scripts and programs (``jarvis.remote.program``) to a server; ``apply.sh`` becomes ``APPLY``.

    Every ``HostService`` of the server depends on it and takes its scripts from the copy, so the state has a
    digest of each script rather than its text for each role and server. The copy is a stage that is
    overwritten file by file: each role checks the digest of a script, then renames it into place. A user who
    is not root is given the folder first.

    Deleting it removes all roles that are left on the server, the last applied first, and
    ``/var/lib/jarvis``, in one connection. (The roles' own resources end with the server: they are forgotten,
    not deleted, when the whole server goes.) The resource is protected: with it goes the server and its data.

    What was found of ``APPLY`` itself is the target's ``seen`` of the host role ``apply``.

    Args:
        name: logical name.
        target: the server.
        after: resources to wait for, such as the preflight of every server.
        opts: the caller's options.
        refusal: command line that fails on a server where nothing may be installed.
        undo: turns the command line that removes everything into one that runs only where it may.
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
                # Its undo serves a stack that goes on without sudo. A leaving server loses the folder anyway,
                # and a lost one is not dialled.
                opts=self.child(
                    **command_options(target.ending_with(opts.parent) if opts and opts.parent else target),
                    depends_on=first or None,
                ),
            )
            first = [own]
        scripts = command.remote.CopyToRemote(
            name,
            connection=target.connection(),
            # The slash at the end copies the content, not the folder.
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
