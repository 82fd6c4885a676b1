"""The deployed state that a run compares with: addresses, servers, and values that cannot change.

The program writes it into a stack output and reads it at its next start (``jarvis.core.deployed``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from jarvis.openstack.catalogue import retired

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

# Fields that cannot change while an environment is deployed, by path, each with what a change would do.
FIXED = {
    "name": "servers, authorities and the database's cluster bear it",
    "networks.pods": "every pod has an address of it, and every server routes to it",
    "networks.services": "every Service has an address of it, which clients and certificates know",
    "networks.node_prefix": "all servers would get other parts of the pods' network at once",
    "networks.cluster_domain": "tokens of pods and certificates are issued under it",
    "networks.domain": "the catalogue, certificates and clients name it, and the old name ends at once",
    "openstack.namespace": "a Namespace is not renamed: it would go with all that is in it, keys included",
    "openstack.region": "what users have is in it, and its endpoints would stay beside the new ones",
}


@dataclass(frozen=True, kw_only=True)
class ServerBefore:
    """A server as it was deployed.

    Attributes:
        name: its name.
        address: its IP address.
        number: number of its part of the pods' network, from 0.
        lost: it was lost already.
    """

    name: str
    address: IPv4Address
    number: int
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Before:
    """What is deployed; empty where nothing is, or where an earlier Jarvis kept no record.

    Attributes:
        virtual_address: the environment's virtual address.
        held: all virtual addresses that the servers hold; VRRP speaks of the first.
        servers: in the configuration's order.
        fixed: values of ``FIXED``, by path.
        copies: copies of each object in the storage; 0 where the record has none.
        services: services of OpenStack that there are, or whose data there is.
        off: those of them that were turned off.
    """

    virtual_address: IPv4Address | None = None
    held: tuple[IPv4Address, ...] = ()
    servers: tuple[ServerBefore, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    copies: int = 0
    services: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


def read_before(record: Mapping[str, Any]) -> Before:
    """The deployed state out of a ``record`` of ``to_record``.

    What the record lacks counts as unchanged. Numbers come back from the engine as floats.
    """
    addresses = record.get("addresses", {})
    services = tuple(map(str, record.get("services", _registered(record))))
    held = tuple(IPv4Address(one) for one in addresses.get("held", ()))
    virtual = addresses.get("virtual")
    return Before(
        virtual_address=IPv4Address(virtual) if virtual else None,
        held=held,
        servers=tuple(
            ServerBefore(
                name=str(one["name"]),
                address=IPv4Address(one["address"]),
                number=int(one["number"]),
                lost=bool(one["lost"]),
            )
            for one in record.get("servers", ())
        ),
        fixed={str(path): str(value) for path, value in record.get("fixed", {}).items()},
        copies=int(record.get("copies", 0)),
        services=services,
        off=tuple(map(str, record.get("off", _unregistered(record, services)))),
    )


def _registered(record: Mapping[str, Any]) -> list[str]:
    """The services that are registered in Keystone, for a record that names none."""
    found: Mapping[str, Any] = record.get("registered") or {}
    return [str(one["name"]) for one in found.get("entries", ())]


def _unregistered(record: Mapping[str, Any], services: Sequence[str]) -> list[str]:
    """The services that were turned off, for a record that does not say it."""
    there = _registered(record)
    return [name for name in services if name not in there] if there else []


def to_record(env: Environment) -> dict[str, Any]:
    """The record of ``env`` for the next run, of plain values."""
    return {
        "addresses": {
            "virtual": str(env.networks.virtual_address),
            "held": [str(one) for one in env.held_addresses],
        },
        "servers": [
            {
                "name": server.name,
                "address": str(server.address),
                "number": env.pod_number(server),
                "lost": server.lost,
            }
            for server in env.servers
        ],
        "fixed": {path: value_at(env, path) for path in FIXED},
        "copies": env.copies,
        "services": [*env.openstack.services, *(one.name for one in retired(env))],
        "off": [one.name for one in retired(env)],
    }


def value_at(env: Environment, path: str) -> str:
    """The value of the field at ``path``, such as ``networks.pods``, as text."""
    found: Any = env
    for part in path.split("."):
        found = getattr(found, part)
    return str(found)
