"""Host roles: the files, secrets and units of one role on one server, as one resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_command.remote import Command, Logging

from jarvis.core.component import merged
from jarvis.remote.connection import Target
from jarvis.remote.files import Directory, File, render
from jarvis.remote.script import command_options

# The script that applies roles. It is not below /usr, which is read-only once a release is merged.
APPLY = "/var/lib/jarvis/bin/apply"
_END = "JARVIS-BUNDLE-END"
# sshd passes the command to a shell as one argument, which Linux limits (execve(2), MAX_ARG_STRLEN).
_COMMAND_BYTES = 128 * 1024 - 1


@dataclass(frozen=True, kw_only=True)
class HostServiceArgs:
    """The desired state of one host role on one server.

    ``jarvis/files/apply.sh`` applies it: files first, then ``before``, ``gate``, the units, ``ready``,
    ``after``. All command lines are run by root's Bash.

    Attributes:
        target: the server.
        files: files and directories whose content shows in the preview.
        secret_files: files whose content is secret: it travels by stdin, and rests encrypted in the state.
        units: systemd units to enable and start, in this order. A unit restarts when a file or an input has
            changed on the server since the unit was last started with success; otherwise it is left running.
        inputs: further values that the units depend on, such as the digest of the host release; not secret.
        gate: command line that must succeed before running units are restarted, such as "the other etcd
            members are healthy". Not asked at the first start.
        ready: command line that is retried after a start until it succeeds.
        timeout: seconds for ``gate``, and again for ``ready``, on a usual server; multiplied by the target's
            ``patience``.
        before: command lines for every apply, before a start; idempotent.
        after: command lines for every apply, once the units are ready; idempotent.
        undo: command lines for the removal of the role, before its units stop. One that fails is reported,
            and the rest is removed all the same.
        reload: reload instead of restart where the unit can.
        beside: paths of files that no unit above runs or reads, such as a tool of the command lines: a change
            of one restarts nothing. A path may be one of an earlier version, and no file any more.
        same: digests by path of files whose successors do the same: units that were started with exactly
            those are not restarted for what comes in their place.
        purge: absolute paths of data to remove together with the role.
    """

    target: Target
    files: Sequence[File | Directory] = ()
    secret_files: Sequence[File] = ()
    units: Sequence[str] = ()
    inputs: Sequence[pulumi.Input[str]] = ()
    gate: str | None = None
    ready: str | None = None
    timeout: int = 60
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    undo: Sequence[str] = ()
    reload: bool = False
    purge: Sequence[str] = ()
    beside: Sequence[str] = ()
    same: Mapping[str, str] = field(default_factory=dict)


def directives(args: HostServiceArgs) -> str:
    """The lines of a bundle that say what to do with its files, as a pure function.

    Raises:
        ValueError: a command line has several lines.
    """
    lines = [f"unit {unit}" for unit in args.units]
    lines += [f"before {line}" for line in args.before]
    lines += [f"gate {args.gate}"] if args.gate else []
    lines += [f"ready {args.ready}"] if args.ready else []
    lines += [f"timeout {args.timeout * args.target.patience}"]
    lines += [f"patience {args.target.patience}"] if args.target.patience > 1 else []
    lines += [f"after {line}" for line in args.after]
    lines += [f"undo {line}" for line in args.undo]
    lines += ["reload"] if args.reload else []
    lines += [f"purge {path}" for path in args.purge]
    lines += [f"beside {path}" for path in args.beside]
    lines += [f"same {digest} {path}" for path, digest in args.same.items()]
    for line in lines:
        if "\n" in line:
            raise ValueError(f"a directive is one line: {line!r}")
    return "".join(f"{line}\n" for line in lines)


def command_text(host_role: str, server: str, args: HostServiceArgs, bundle: str) -> str:
    """The command that applies a host role: the script, and as its input findings, directives and files.

    Args:
        host_role: name of the role on the server.
        server: name of the server, for the error.
        args: the role, with what was found of it on the server (``Target.seen``).
        bundle: the role's clear files, rendered.

    Raises:
        ValueError: the command is longer than one argument of a Linux command may be.
    """
    seen = "".join(f"seen {line}\n" for line in args.target.seen.get(host_role, ()))
    text = args.target.as_root(
        f"exec {APPLY} {host_role} 3<<'{_END}'\n{seen}{directives(args)}{bundle}{_END}\n"
    )
    size = len(text.encode())
    if size > _COMMAND_BYTES:
        raise ValueError(
            f"{server}: the files of the role {host_role} take {size} bytes, a command carries"
            f" {_COMMAND_BYTES}: divide the role, or send large files by jarvis.remote.Transfer"
        )
    return text


class HostService(Command):
    """Brings one host role of one server to its desired state, and removes it when deleted.

    The clear part of the bundle is the text of the command, so a preview shows which lines of which file
    change. The secret part is its stdin. Deleting the resource stops and disables the units and removes the
    files.

    Args:
        name: logical name, unique in the stack.
        host_role: name of the role, unique on the server.
        args: the desired state.
        opts: the caller's options.
        depends_on: resources to wait for, beside those of ``opts``.
    """

    def __init__(
        self,
        name: str,
        host_role: str,
        args: HostServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> None:
        clear = pulumi.Output.all(render(args.files), *args.inputs).apply(
            lambda parts: "".join(f"input {value}\n" for value in parts[1:]) + parts[0]
        )
        text = clear.apply(lambda bundle: command_text(host_role, args.target.server, args, bundle))
        super().__init__(
            name,
            connection=args.target.connection(),
            create=text,
            delete=args.target.as_root(f"[ ! -x {APPLY} ] || {APPLY} --remove {host_role}"),
            stdin=_secret(render(args.secret_files)) if args.secret_files else None,
            logging=Logging.NONE if args.secret_files else None,
            add_previous_output_in_env=False,
            opts=merged(
                opts,
                depends_on=list(depends_on),
                **command_options(args.target, secret=bool(args.secret_files)),
            ),
        )


def _secret(text: pulumi.Output[str]) -> pulumi.Output[str]:
    return text.apply(pulumi.Output.secret)
