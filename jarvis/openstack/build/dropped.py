"""Data of a service that is off, dropped for good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pulumi

from jarvis.core.component import Component
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.data import Data
from jarvis.remote import RemoteScript, RemoteScriptArgs, Target
from jarvis.stateful.ceph import Storage

# A second run finds nothing, and ends well.
_DATABASES = """
for name; do
  mariadb --batch -e "DROP DATABASE IF EXISTS \\`$name\\`"
done
"""
_VHOSTS = """
for name; do
  rabbitmqctl --quiet list_vhosts | grep --line-regexp --fixed-strings "$name" >/dev/null || continue
  rabbitmqctl --quiet delete_vhost "$name" </dev/null
done
"""
# Monitors refuse that otherwise (mon_allow_pool_delete):
# https://docs.ceph.com/en/pacific/rados/operations/pools/#delete-a-pool
_POOLS = """
trap 'ceph config rm mon mon_allow_pool_delete' EXIT
ceph config set mon mon_allow_pool_delete true
for name; do
  ceph osd pool ls | grep --line-regexp --fixed-strings "$name" >/dev/null || continue
  ceph osd pool rm "$name" "$name" --yes-i-really-really-mean-it
done
"""
_STRICT = "set -o errexit -o nounset -o pipefail\n"


@dataclass(frozen=True, kw_only=True)
class DroppedArgs:
    """What is dropped.

    Attributes:
        platform: with the database and the queue.
        storage: where pools are.
        data: what is dropped there.
    """

    platform: Platform
    storage: Storage
    data: Data


class Dropped(Component, token="openstack:Dropped"):
    """Drops the databases, vhosts and pools of a service that is off. Deleting it brings nothing back."""

    def __init__(self, name: str, args: DroppedArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        for kind, target, script, names, after in _parts(args):
            if names:
                RemoteScript(
                    f"{name}-{kind}",
                    RemoteScriptArgs(target=target, script=_STRICT + script, arguments=names),
                    self.child(depends_on=[after]),
                )
        self.register_outputs({})


def _parts(args: DroppedArgs) -> Iterator[tuple[str, Target, str, list[str], pulumi.Resource]]:
    """What runs for each kind of data: its name, the server, the script, names, and what is there before."""
    database, queue, data = args.platform.database, args.platform.queue, args.data
    yield "databases", database.writer, _DATABASES, list(data.databases), database
    yield "vhosts", queue.target, _VHOSTS, list(data.vhosts), queue
    yield "pools", args.storage.admin, _POOLS, list(data.pools), args.storage
