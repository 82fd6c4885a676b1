"""What a server runs for one role: its files, its secrets and its units, as one resource."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_command.remote import Command, Logging

from jarvis.core.component import Unwrapped
from jarvis.remote.connection import Target
from jarvis.remote.files import Directory, File, render
from jarvis.remote.script import command_options

# Where the applying script lies on a server. Not below /usr, which is read-only once a release is merged.
APPLY = "/var/lib/jarvis/bin/apply"
_END = "JARVIS-BUNDLE-END"
# sshd gives the command to a shell as one argument; Linux takes no longer one (execve(2), MAX_ARG_STRLEN).
_COMMAND_BYTES = 128 * 1024 - 1


@dataclass(frozen=True, kw_only=True)
class HostServiceArgs:
    """The whole of one role on one server.

    - ``target``: the server.
    - ``files``: files and directories whose content shows in the preview.
    - ``secret_files``: files whose content is secret; they travel by stdin and rest encrypted in the state.
    - ``units``: systemd units to enable and start, in this order. They are restarted when any file above,
      or a value of ``inputs``, has changed on the server since they were last started with success, and
      left running otherwise.
    - ``inputs``: further values on which the units depend, such as the host release's digest; not secret.
    - ``gate``: a command line that must succeed before running units are restarted (not at the first start),
      such as "the other etcd members are healthy".
    - ``ready``: a command line tried until it succeeds after a start, at most ``timeout`` seconds. Those are
      of a usual server: they are multiplied by the target's ``patience``.
    - ``after``: command lines run at every apply once the units are ready; safe to run twice.
    - ``before``: command lines run at every apply, after the files are written and before a start.
    - ``undo``: command lines run when the role is destroyed, before its units are stopped; one that fails is
      reported and does not keep the rest from being removed.
    - ``reload``: reload instead of restart where the unit can.
    - ``beside``: paths of files that no unit above runs or reads, such as a tool of the command lines: a
      change of one restarts nothing. A path may be one of an earlier version, and no file any more.
    - ``same``: digests by path of files whose successors do the same: units that were started with exactly
      those are not restarted for what comes in their place.
    - ``purge``: absolute paths of data removed together with the role when it is destroyed.
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
    """The lines of a bundle that say what is done with its files, as a pure function.

    Raises ``ValueError`` for a command line of more than one line.
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


def command_text(role: str, server: str, args: HostServiceArgs, bundle: str) -> str:
    """The command that applies ``role``: the script, and as what it reads what was found of it on the server
    (``Target.seen``), its directives and files.

    Raises ``ValueError`` for more than a server can be given at once.
    """
    seen = "".join(f"seen {line}\n" for line in args.target.seen.get(role, ()))
    text = args.target.as_root(f"exec {APPLY} {role} 3<<'{_END}'\n{seen}{directives(args)}{bundle}{_END}\n")
    size = len(text.encode())
    if size > _COMMAND_BYTES:
        raise ValueError(
            f"{server}: the files of the role {role} take {size} bytes, a command carries {_COMMAND_BYTES}:"
            " divide the role, or send large files by jarvis.remote.Transfer"
        )
    return text


class HostService(Unwrapped, Command, once_in="remote:HostService"):
    """Brings one role of one server to the state that its arguments say; see ``HostServiceArgs``.

    The clear part of the bundle is the text of the command, so that a preview shows which file changes and
    how; the secret part is its stdin. Deleting it stops and disables the units and removes the files.
    ``name`` is unique in the stack; on the server the role is called ``role``. ``depends_on`` adds
    to that of ``opts``.
    """

    def __init__(
        self,
        name: str,
        role: str,
        args: HostServiceArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> None:
        clear = pulumi.Output.all(render(args.files), *args.inputs).apply(
            lambda parts: "".join(f"input {value}\n" for value in parts[1:]) + parts[0]
        )
        text = clear.apply(lambda bundle: command_text(role, args.target.server, args, bundle))
        super().__init__(
            name,
            connection=args.target.connection(),
            create=text,
            delete=args.target.as_root(f"[ ! -x {APPLY} ] || {APPLY} --remove {role}"),
            stdin=_secret(render(args.secret_files)) if args.secret_files else None,
            logging=Logging.NONE if args.secret_files else None,
            add_previous_output_in_env=False,
            opts=self.own_options(
                name,
                opts,
                depends_on=list(depends_on),
                **command_options(args.target, secret=bool(args.secret_files)),
            ),
        )


def _secret(text: pulumi.Output[str]) -> pulumi.Output[str]:
    return text.apply(pulumi.Output.secret)
