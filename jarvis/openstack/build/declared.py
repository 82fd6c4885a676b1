"""OpenStack's objects that an environment declares, each as one resource."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_command.remote import Command

from jarvis.core.component import Component, merged
from jarvis.core.pods import fingerprint
from jarvis.core.safety import guard
from jarvis.hosts.base import STAGING
from jarvis.openstack.build.registration import Administrator
from jarvis.openstack.declared.catalogue import KINDS
from jarvis.openstack.declared.content import Contents
from jarvis.openstack.declared.model import Declaration, Kind, program_text
from jarvis.openstack.declared.program import ADMINISTRATOR
from jarvis.remote import Directory, File, HostService, HostServiceArgs, Target, Transfer, TransferArgs
from jarvis.remote.script import command_options, quote
from jarvis.remote.tools import SCRIPTS

FOLDER = "/var/lib/jarvis/openstack"
PROGRAM = f"{FOLDER}/objects.py"
_ROLE = "openstack-objects"
# Seconds that one request may take, and for which a service that does not answer is asked again: right after
# a first deployment gateways still look for pods.
_ANSWER_SECONDS, _WAIT_SECONDS = 60, 300


@dataclass(frozen=True, kw_only=True)
class ObjectsArgs:
    """The objects of an environment.

    Attributes:
        declarations: the objects; not empty.
        administrator: who makes them.
        password: of the administrator.
        authority: certificate of the gateway's authority, in PEM.
        urls: of all services, by type in Keystone's catalogue.
        ready: the resources after which each service can be asked, by its name.
        server: the server through which they are made.
        contents: where the content of images is on the operator's machine.
        patience: of the environment.
        seen: what was found of each (``jarvis.drift.declared``), as lines by key.
        sent: how often the content of an image was to be sent anew, by key.
        sending: the images whose content this run sends, by key.
    """

    declarations: Sequence[Declaration]
    administrator: Administrator
    password: pulumi.Input[str]
    authority: pulumi.Input[str]
    urls: Mapping[str, str]
    ready: Mapping[str, Sequence[pulumi.Resource]]
    server: Target
    contents: Contents
    patience: int = 1
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sent: Mapping[str, int] = field(default_factory=dict)
    sending: Collection[str] = ()

    def after(self, kind: Kind) -> list[pulumi.Resource]:
        """The resources after which the administrator can ask for objects of ``kind``."""
        return [*dict.fromkeys([*self.administrator.ready, *self.ready[kind.service]])]


class DeclaredObjects(Component, token="openstack:Objects"):
    """Objects by a program on a server with the database, which asks the APIs through the gateway.

    Each object is one resource, named by its key: made, or adopted where it is there and equal; changed in
    place; removed with its resource, which is protected. An object waits for those that it names. Destroying
    the environment removes none of them: they end with it.

    The administrator's password is in one secret file beside the program, which root alone reads: so it is in
    the state once, a rotation changes one resource, and an object that is removed later is removed by the
    password of that time.

    Attributes:
        ready: the objects, by key.
    """

    ready: dict[str, pulumi.Resource]

    def __init__(self, name: str, args: ObjectsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        program = HostService(
            f"{name}-program",
            _ROLE,
            HostServiceArgs(
                target=args.server,
                files=[
                    Directory(path=FOLDER, mode="0755"),
                    File(path=PROGRAM, content=program_text(KINDS), mode="0644"),
                ],
                secret_files=[
                    File(path=f"{FOLDER}/{ADMINISTRATOR}", content=_administrator(args), mode="0600")
                ],
            ),
            # The server has its base, and Keystone the administrator, whose password this is.
            self.child(depends_on=args.administrator.ready),
        )
        # As with the host release: a user who is not root may copy to its own folder alone.
        staging = SCRIPTS if args.server.sudo else STAGING
        self.ready = {}
        # Kinds are in the order in which they need each other.
        for one in args.declarations:
            before = [self.ready[each.key] for each in one.settings.references() if each.key in self.ready]
            after = [program, *args.after(one.kind), *before]
            told = one.wanted.told()
            source = one.settings.source()
            if source is not None:
                # Two images may have the same content, and each removes its own copy. The plugin copies once
                # more where the path is another.
                parts = [one.key, source.sha256, str(args.sent.get(one.key, 0))]
                path = f"{staging}/image-{fingerprint(parts)}"
                after.append(
                    Transfer(
                        one.key,
                        TransferArgs(
                            target=args.server,
                            source=str(args.contents.path(source)),
                            sha256=source.sha256,
                            path=path,
                        ),
                        self.child(
                            depends_on=args.after(one.kind),
                            # Where another server is asked from now on, what is uploaded already is not sent
                            # there: its file may be gone from this machine.
                            ignore_changes=[] if one.key in args.sending else ["connection"],
                        ),
                    )
                )
                told["source"] = {"path": path, "sha256": source.sha256}
            self.ready[one.key] = Command(
                one.key,
                connection=args.server.connection(),
                create=_line(args, "adopt", told),
                update=_line(args, "keep", told),
                delete=_line(args, "remove", {each: told[each] for each in ("kind", "key", "where")}),
                add_previous_output_in_env=False,
                opts=merged(
                    self.child(
                        depends_on=after,
                        protect=guard(one.key, f"{one.key}, {one.kind.loses}"),
                    ),
                    **command_options(args.server),
                ),
            )
        self.register_outputs({})


def _line(args: ObjectsArgs, action: str, told: Mapping[str, Any]) -> str:
    """The command line that does ``action`` with an object: each of its fields is a line of a preview."""
    text = f"exec python3 {PROGRAM} {action} {quote(json.dumps(told, indent=1, ensure_ascii=False))}"
    seen = args.seen.get(str(told["key"]), ()) if action == "keep" else ()
    return args.server.as_root("".join([text, *(f"\n# seen {line}" for line in seen)]))


def _administrator(args: ObjectsArgs) -> pulumi.Output[str]:
    """Whom the program asks, and as whom. Secret."""
    who = args.administrator

    def text(values: Sequence[str]) -> str:
        password, authority = values
        asked = {
            "url": who.url,
            "authority": authority,
            "user": who.user,
            "password": password,
            "project": who.project,
            "endpoints": dict(sorted(args.urls.items())),
            "seconds": _ANSWER_SECONDS * args.patience,
            "wait": _WAIT_SECONDS * args.patience,
        }
        return json.dumps(asked)

    return pulumi.Output.secret(pulumi.Output.all(args.password, args.authority).apply(text))
