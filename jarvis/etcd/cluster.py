"""The etcd cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from jarvis.config import Environment, ServerRole
from jarvis.core.component import Component
from jarvis.etcd import unit
from jarvis.etcd.member import EtcdMember, EtcdMemberArgs
from jarvis.hosts import Host
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs


@dataclass(frozen=True, kw_only=True)
class EtcdClusterArgs:
    """The servers of an etcd cluster.

    Attributes:
        hosts: servers of the members, in the configuration's order.
        env: the environment, which also says which members are lost.
    """

    hosts: Sequence[Host]
    env: Environment


class EtcdCluster(Component, token="etcd:Cluster"):
    """An etcd cluster whose members are started, and changed, one after the other.

    Each member depends on the one before it and is ready only when it is healthy. A change that breaks one
    member stops there, and the others go on serving.

    Attributes:
        endpoints: client URLs of all members, lost ones included: clients skip a dead endpoint, while API
            servers would have to restart for a shorter list.
        authority: signs members and clients.
        ready: the members, to depend on.
    """

    endpoints: list[str]
    authority: Authority
    ready: list[EtcdMember]

    def __init__(self, name: str, args: EtcdClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._rotations = args.env.rotations
        authority = f"{name}-authority"
        self.authority = Authority(
            authority,
            AuthorityArgs(common_name=f"{name} authority", rotation=self._rotations.get(authority, 0)),
            self.child(),
        )
        addresses = [str(host.server.address) for host in args.hosts]
        # A lost server keeps its number: another number would change, and so restart, the other members.
        declared = [server.name for server in args.env.declared(ServerRole.ETCD)]
        lost = [str(one.address) for one in args.env.lost if ServerRole.ETCD in one.roles]
        self.ready = []
        for at, host in enumerate(args.hosts):
            member = f"{name}-{host.server.name}"
            self.ready.append(
                EtcdMember(
                    member,
                    EtcdMemberArgs(
                        host=host,
                        others=[address for address in addresses if address != addresses[at]],
                        lost=lost,
                        index=declared.index(host.server.name),
                        authority=self.authority,
                        flags=args.env.etcd.flags,
                        rotation=self._rotations.get(member, 0),
                        after=self.ready[-1:],
                    ),
                    self.child(),
                )
            )
        self.endpoints = [unit.client_url(str(one.address)) for one in args.env.declared(ServerRole.ETCD)]
        self.register_outputs({"endpoints": self.endpoints})

    def client(self, name: str) -> Certificate:
        """A client certificate called ``name``.

        Its holder may do anything: etcd's own users are not in use.
        """
        return Certificate(
            name,
            CertificateArgs(
                authority=self.authority, common_name=name, rotation=self._rotations.get(name, 0)
            ),
            self.child(),
        )
