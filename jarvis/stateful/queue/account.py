"""A service's vhost in the queue, and its account there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.pki import Password, PasswordArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.queue.cluster import Queue
from jarvis.stateful.queue.rabbitmq import FOLDER, definitions, transport_url, users


@dataclass(frozen=True, kw_only=True)
class QueueAccountArgs:
    """A vhost and its users.

    Attributes:
        queue: the cluster.
        service: name of the vhost, and first part of its users' names.
        rotation: counter of the password; raised by one, never by more, to make it anew.
        reaches: accounts in whose vhosts its users have all rights too.
        notified: whether notifications are published in the vhost (see ``definitions``).
    """

    queue: Queue
    service: str
    rotation: int = 0
    reaches: Sequence[QueueAccount] = ()
    notified: bool = False


class QueueAccount(Component, token="stateful:QueueAccount"):
    """A vhost, and a user with all rights in it and, but for vhosts that it reaches, none elsewhere.

    Two users take turns, one for each rotation, and the former stays valid: clients change one by one, and
    none is refused. After a theft rotate twice. Deleting the resource deletes the users and keeps the vhost.

    Attributes:
        vhost: its name.
        url: oslo.messaging's ``transport_url``, secret.
        ready: the role after which the account can be used.
    """

    vhost: str
    url: pulumi.Output[str]
    ready: HostService

    def __init__(self, name: str, args: QueueAccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self.vhost = args.service
        turns = users(args.service, args.rotation)
        passwords = {
            user: Password(f"{name}-{number}", PasswordArgs(rotation=number), self.child()).value
            for number, user in turns.items()
        }
        current = turns[args.rotation]
        self.url = passwords[current].apply(
            lambda password: transport_url(
                user=current, password=password, host=args.queue.host, vhost=args.service
            )
        )
        text = pulumi.Output.all(**passwords).apply(
            lambda words: definitions(
                service=args.service,
                passwords=words,
                reaches=[each.vhost for each in args.reaches],
                notified=args.notified,
            )
        )
        file = f"{FOLDER}/{args.service}.json"
        self.ready = HostService(
            name,
            f"queue-account-{args.service}",
            HostServiceArgs(
                target=args.queue.target,
                files=[Directory(path=FOLDER, mode="0700")],
                secret_files=[File(path=file, content=text, mode="0600")],
                after=[f"rabbitmqctl --quiet import_definitions <{file}"],
                undo=[
                    "! systemctl is-active --quiet rabbitmq-server.service"
                    f" || {{ rabbitmqctl --quiet delete_user {user}; }}"
                    for user in users(args.service, 1).values()
                ],
            ),
            self.child(depends_on=[args.queue, *(each.ready for each in args.reaches)]),
        )
        self.register_outputs({})
