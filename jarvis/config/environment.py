"""An environment as a whole, with the checks that compare its sections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TypeVar

from pydantic import Field, PrivateAttr, model_validator

from jarvis.config import addresses
from jarvis.config.before import Before
from jarvis.config.firewall import Firewall
from jarvis.config.kernel import fixed, sysctl_mistake
from jarvis.config.labels import label_mistake
from jarvis.config.names import names
from jarvis.config.network import Networks
from jarvis.config.openstack import Gateway, OpenStack, service_mistakes
from jarvis.config.owned import owned
from jarvis.config.platform import (
    DatabaseSettings,
    Etcd,
    Kubernetes,
    QueueSettings,
    RegistrySettings,
    StorageSettings,
    Versions,
)
from jarvis.config.pod_numbers import pod_numbers
from jarvis.config.ports import ports
from jarvis.config.rotations import secret_names
from jarvis.config.safety import Safety
from jarvis.config.server import PreflightSettings, Server, Ssh, map_mistakes
from jarvis.config.sizes import sizes
from jarvis.config.types import DnsLabel, Place, RotationCounter, Section, refusal
from jarvis.openstack.declared.catalogue import object_mistakes
from jarvis.roles import ROLES, ServerRole
from jarvis.roles.model import Setting

Mistake = tuple[Place, str]
_Made = TypeVar("_Made")

# The etcd versions that each minor version of Kubernetes is released and tested with: its changelog and
# build/dependencies.yaml name 3.6 from 1.34 on; 3.5.24 is the oldest that 1.35 and later accept.
SUPPORTED_ETCD = {"1.36": ("3.6",), "1.37": ("3.6",)}
# https://containerd.io/releases/#kubernetes-support
SUPPORTED_CONTAINERD = {"1.36": ("2.1", "2.2", "2.3"), "1.37": ("2.2", "2.3", "2.4")}


class Environment(Section):
    """The configuration of one stack: servers, networks, versions, services.

    All mistakes come in one ``pydantic.ValidationError``, each at the path of its field.
    """

    name: DnsLabel
    networks: Networks
    ssh: Ssh = Field(default_factory=Ssh)
    patience: int = Field(
        default=1,
        ge=1,
        le=100,
        description="how many times as long as on a usual server a deployment waits for anything to come up",
    )
    preflight: PreflightSettings = Field(default_factory=PreflightSettings)
    safety: Safety = Field(default_factory=Safety)
    servers: list[Server] = Field(min_length=1)
    versions: Versions = Field(default_factory=Versions)
    etcd: Etcd = Field(default_factory=Etcd)
    kubernetes: Kubernetes = Field(default_factory=Kubernetes)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    firewall: Firewall = Field(default_factory=Firewall)
    gateway: Gateway = Field(default_factory=Gateway)
    openstack: OpenStack = Field(default_factory=OpenStack)
    rotations: dict[str, RotationCounter] = Field(
        default_factory=dict, description="how often each secret was made anew, by the secret's name"
    )
    _before: Before = PrivateAttr(default_factory=Before)

    def after(self, before: Before) -> Environment:
        """The same environment in a stack where ``before`` is deployed.

        An environment as parsed belongs to a new stack.
        """
        found = self.model_copy()
        found._before = before
        return found

    @property
    def before(self) -> Before:
        """What the last finished ``up`` deployed."""
        return self._before

    @property
    def held_addresses(self) -> tuple[IPv4Address, ...]:
        """The virtual addresses that the servers hold: one, or two during a change."""
        return addresses.held_addresses(self.networks.virtual_address, self._before)

    @property
    def reach_address(self) -> IPv4Address:
        """The virtual address that answers throughout this run, its preview included."""
        return addresses.reach_address(self.networks.virtual_address, self._before)

    @property
    def holders_change(self) -> bool:
        """Whether this run changes which virtual addresses are held."""
        return addresses.holders_change(self.networks.virtual_address, self._before)

    @property
    def deployed(self) -> bool:
        """Whether an earlier run is known to have deployed the environment."""
        return bool(self._before.servers)

    def first_alone(self, made: Sequence[_Made]) -> list[_Made]:
        """The resources that the next of their kind waits for in a rolling change.

        A change goes to the first server alone, so that one that breaks a server reaches no other. A first
        deployment goes to all at once.

        Args:
            made: resources of one kind, one for each server, in order.
        """
        return list(made[:1]) if self.deployed else []

    @property
    def present(self) -> list[Server]:
        """The servers that are not lost: only these are ever dialled."""
        return [server for server in self.servers if not server.lost]

    @property
    def lost(self) -> list[Server]:
        """The servers that are gone for good."""
        return [server for server in self.servers if server.lost]

    def with_role(self, role: ServerRole) -> list[Server]:
        """The servers that have ``role`` and are not lost, in the configuration's order."""
        return [server for server in self.present if role in server.roles]

    def declared(self, role: ServerRole) -> list[Server]:
        """The servers that were given ``role``, lost ones included, in the configuration's order.

        For components that would have to restart to forget a member, at a time when no other can be spared.
        """
        return [server for server in self.servers if role in server.roles]

    @property
    def copies(self) -> int:
        """How many copies of each object the storage keeps, each on a server of its own."""
        return self.storage.copies or min(3, len(self.declared(ServerRole.STORAGE)))

    def number(self, setting: Setting) -> int:
        """The number in the field that ``setting`` names."""
        value: int = getattr(getattr(self, setting.section), setting.name)
        return value

    def pod_subnet(self, server: Server) -> IPv4Network:
        """The pod network of ``server``, which it keeps as long as it is deployed."""
        return self.networks.pod_subnet(self.pod_number(server))

    def pod_number(self, server: Server) -> int:
        """The number of the pod network of ``server``, from 0.

        In a new stack it is the server's place in the configuration.
        """
        names = [one.name for one in self.servers]
        return pod_numbers(names, self._before, self.networks.pod_subnets)[server.name]

    @model_validator(mode="after")
    def _cross_checks(self) -> Environment:
        mistakes = [*_servers(self), *_addresses(self), *_networks(self), *_roles(self), *_versions(self)]
        mistakes += [
            *_rotations(self),
            *names(self),
            *service_mistakes(self),
            *object_mistakes(self),
            *ports(self),
            *map_mistakes(self.servers, "labels", lambda _, key, value: label_mistake(key, value)),
            *map_mistakes(
                self.servers,
                "sysctls",
                lambda server, name, value: sysctl_mistake(name, value, fixed(server.roles)),
            ),
            *sizes(self),
            *owned(self),
        ]
        if mistakes:
            raise refusal("Environment", mistakes, kind="environment")
        return self


def _servers(env: Environment) -> Iterator[Mistake]:
    for field in ("name", "address"):
        counts = Counter(getattr(server, field) for server in env.servers)
        for at, server in enumerate(env.servers):
            value = getattr(server, field)
            if counts[value] > 1:
                yield ("servers", at, field), f"{value} is the {field} of {counts[value]} servers"
    for at, server in enumerate(env.servers):
        if (server.host_key is None) == (server.host_key_file is None):
            yield ("servers", at, "host_key"), f"{server.name} needs one of host_key and host_key_file"


def _addresses(env: Environment) -> Iterator[Mistake]:
    network = env.networks.management
    reserved = {network.network_address, network.broadcast_address}
    for at, server in enumerate(env.servers):
        if server.address not in network or server.address in reserved:
            yield ("servers", at, "address"), f"{server.address} of {server.name} is not a host of {network}"
        if server.address == env.networks.virtual_address:
            yield ("servers", at, "address"), f"{server.address} of {server.name} is the virtual address"
    if env.networks.virtual_address not in network or env.networks.virtual_address in reserved:
        address = env.networks.virtual_address
        yield ("networks", "virtual_address"), f"{address} is not a host of the management network {network}"


def _networks(env: Environment) -> Iterator[Mistake]:
    for one, other in combinations(("management", "pods", "services"), 2):
        a, b = getattr(env.networks, one), getattr(env.networks, other)
        if a.overlaps(b):
            yield ("networks", other), f"{b} overlaps {one} {a}"
    try:
        env.networks.pod_subnet(len(env.servers) - 1)
    except IndexError as error:
        yield ("networks", "pods"), f"too small for {len(env.servers)} servers: {error}"


def _roles(env: Environment) -> Iterator[Mistake]:
    for role in ServerRole:
        its = ROLES[role]
        count, left = len(env.declared(role)), len(env.with_role(role))
        if count == 0:
            if its.required:
                yield ("servers",), f"no server has the role {role.value}"
        elif (its.required and left == 0) or (its.quorum and 2 * left <= count):
            text = f"{left} of {count} servers with the role {role.value} are left, which cannot go on"
            yield ("servers",), f"{text}: see Lost quorum in docs/operating.md"
        if its.quorum and count and count % 2 == 0:
            text = "an even number adds no safety: use 1, 3 or 5"
            yield ("servers",), f"{count} servers have the role {role.value}; {text}"
        if role is ServerRole.STORAGE and (env.storage.copies or 0) > count > 0:
            text = f"{env.storage.copies} copies need as many servers of the role storage; there are {count}"
            yield ("storage", "copies"), text
    for at, server in enumerate(env.servers):
        if "osd" in server.model_fields_set and ServerRole.STORAGE not in server.roles:
            yield ("servers", at, "osd"), f"{server.name} has an osd and not the role storage"
        for role in ServerRole:
            for needed in ROLES[role].needs if role in server.roles else ():
                if needed not in server.roles:
                    text = f"{server.name} has the role {role.value} and so needs the role {needed}"
                    yield ("servers", at, "roles"), text


def _rotations(env: Environment) -> Iterator[Mistake]:
    known = sorted(secret_names(env))
    for name in env.rotations:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"the closest is {near[0]}" if near else f"there are {', '.join(known)}"
            yield ("rotations", name), f"no secret has this name; {hint}"


def _versions(env: Environment) -> Iterator[Mistake]:
    kubernetes = env.versions.kubernetes.rpartition(".")[0]
    if kubernetes not in SUPPORTED_ETCD:
        known = ", ".join(SUPPORTED_ETCD)
        yield ("versions", "kubernetes"), f"{env.versions.kubernetes} is not supported; supported are {known}"
        return
    for field, table in (("etcd", SUPPORTED_ETCD), ("containerd", SUPPORTED_CONTAINERD)):
        version = getattr(env.versions, field)
        if version.rpartition(".")[0] not in table[kubernetes]:
            good = ", ".join(table[kubernetes])
            yield (
                ("versions", field),
                f"{version} does not go with Kubernetes {kubernetes}, which wants {good}",
            )
