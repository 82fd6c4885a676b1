"""Clients of the storage, with the least rights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.pki import RandomKey, RandomKeyArgs
from jarvis.pki.rotation import accepted
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.stateful.ceph import text
from jarvis.stateful.ceph.pool import Pool
from jarvis.stateful.ceph.storage import Storage

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_FOLDER = "/var/lib/jarvis/ceph"


@dataclass(frozen=True, kw_only=True)
class CephClientArgs:
    """A client and its rights.

    Attributes:
        storage: the storage.
        client: name of the client, such as ``glance``.
        pools: pools whose images it may read and write. It may do nothing else.
        rotation: counter; raised by one, never by more, to make the key anew.

    Raises:
        ValueError: the name is not of lower-case letters, digits and ``-``, or there is no pool.
    """

    storage: Storage
    client: str
    pools: Sequence[Pool]
    rotation: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.client) or self.client == "admin":
            raise ValueError(f"{self.client!r} is not a client's name of 1 to 32 letters, digits and -")
        if not self.pools:
            raise ValueError(f"the client {self.client} has no pool")


class CephClient(Component, token="ceph:Client"):
    """A client with a key of its own, which may use RBD images in its pools and nothing else.

    Each rotation is a user of its own, and the former user stays valid: pods change one by one, and none is
    refused. After a theft rotate twice.

    Keyrings belong below ``/etc/ceph`` as ``ceph.client.<user>.keyring``, beside ``ceph.conf``.

    Attributes:
        user: name of the current user (``rbd_store_user`` of Glance): ``glance``, later ``glance.1``.
        keyrings: keyrings by user, secret: of the current and of the former.
        config: text of ceph.conf.
        ready: the role after which the client is let in.
    """

    user: str
    keyrings: Mapping[str, pulumi.Output[str]]
    config: pulumi.Output[str]
    ready: HostService

    def __init__(self, name: str, args: CephClientArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        caps = text.rbd_caps([pool.pool for pool in args.pools])
        keys = {
            number: RandomKey(f"{name}-{number}", RandomKeyArgs(rotation=number), self.child()).value.apply(
                text.cephx_key
            )
            for number in accepted(args.rotation)
        }
        users = {number: f"{args.client}.{number}" if number else args.client for number in keys}
        self.user = users[args.rotation]
        self.keyrings = {user: _keyring(user, keys[number]) for number, user in users.items()}
        self.config = args.storage.fsid.apply(lambda unique: text.client_conf(unique, args.storage.monitors))
        numbers = list(keys)
        rights = pulumi.Output.all(*keys.values()).apply(
            lambda known: "\n".join(
                text.keyring(f"client.{users[number]}", key, caps)
                for number, key in zip(numbers, known, strict=True)
            )
        )
        file = f"{_FOLDER}/{args.client}.keyring"
        gone = [f"{args.client}.{args.rotation - 2}" if args.rotation > 2 else args.client]
        self.ready = HostService(
            name,
            f"ceph-client-{args.client}",
            HostServiceArgs(
                target=args.storage.admin,
                files=[Directory(path=_FOLDER, mode="0700")],
                secret_files=[File(path=file, content=rights, mode="0600")],
                after=[
                    f"{text.TOOL} client {file}",
                    *([f"{text.TOOL} forget {' '.join(gone)}"] if args.rotation > 1 else []),
                ],
                undo=[f"{text.TOOL} forget {' '.join(users.values())}"],
            ),
            self.child(depends_on=[args.storage, *args.pools]),
        )
        self.register_outputs({"user": self.user})


def _keyring(user: str, key: pulumi.Output[str]) -> pulumi.Output[str]:
    return pulumi.Output.secret(key.apply(lambda key: text.keyring(f"client.{user}", key, {})))
