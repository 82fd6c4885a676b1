"""Checks for values that cannot change while a cloud is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jarvis.config.before import FIXED, value_at
from jarvis.config.errors import ConfigurationError

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


def check_fixed(env: Environment) -> None:
    """Compares ``env`` with what is deployed (``env.before``).

    Where the record has no value, any is right.

    Raises:
        ConfigurationError: fields that cannot change have changed. It lists all of them, each with the
            reason.
    """
    mistakes = [*_fixed(env), *_servers(env), *_order(env), *_virtual_address(env), *_copies(env)]
    if mistakes:
        text = "\n".join(f"  {mistake}" for mistake in mistakes)
        raise ConfigurationError(
            f"this cannot change while the cloud is deployed; nothing has been changed:\n{text}\n"
            "put the former values back; another cloud is another stack (`pulumi stack init`), and this one"
            " may have any values after `pulumi destroy` (docs/operating.md, What can change)"
        )


def _fixed(env: Environment) -> Iterator[str]:
    for path, reason in FIXED.items():
        now = value_at(env, path)
        deployed = env.before.fixed.get(path, now)
        if now != deployed:
            yield f"{path}: {deployed} is deployed, and {now} is not possible: {reason}"


def _servers(env: Environment) -> Iterator[str]:
    """Changed names and addresses: members of clusters know a server by both."""
    by_name = {one.name: one for one in env.before.servers}
    # A lost server has left all clusters, so another may have its address.
    by_address = {one.address: one for one in env.before.servers if not one.lost}
    for at, server in enumerate(env.servers):
        same, there = by_name.get(server.name), by_address.get(server.address)
        if same and same.address != server.address:
            yield (
                f"servers[{at}].address: {server.name} is deployed at {same.address}; members of the clusters"
                f" know it by that. For {server.address} take another name"
                " (docs/operating.md, Replace one server by another)"
            )
        elif not same and there:
            yield (
                f"servers[{at}].name: {server.address} is {there.name}, which would leave and take all with"
                f" it that {server.name} gets: remove {there.name} first, `pulumi up`, then add"
                f" {server.name}"
            )


def _order(env: Environment) -> Iterator[str]:
    """A changed order of the servers that stay.

    The first server of a role is the one that is asked and written to.
    """
    names = [server.name for server in env.servers]
    deployed = [one.name for one in env.before.servers if one.name in names]
    if deployed != [name for name in names if name in deployed]:
        yield (
            f"servers: deployed in the order {', '.join(deployed)}, in which they stay: another first one"
            " would move the database's writer and the order of rolling changes; new ones may stand anywhere"
        )


def _copies(env: Environment) -> Iterator[str]:
    """A storage reduced to a single copy, which cannot be repaired and is away when its server restarts.

    Any other number is fine: data moves, and a second copy is left to repair from.
    """
    if env.copies == 1 < env.before.copies:
        count = f"{env.before.copies} copies of each object are deployed"
        if env.storage.copies == 1:
            yield f"storage.copies: {count}, and 1 is not possible: a lost disk would lose what was on it"
        else:
            yield (
                f"servers: {count}, and one server of the role storage has 1, which is not possible: a lost"
                " disk would lose what was on it"
            )


def _virtual_address(env: Environment) -> Iterator[str]:
    """Addresses that a server and the virtual address would both have before this run has ended."""
    now = env.networks.virtual_address
    for at, server in enumerate(env.servers):
        if server.address in env.before.held and server.address != now:
            yield (
                f"servers[{at}].address: {server.address} is held as a virtual address still: `pulumi up`"
                f" without {server.name} first, until it is let go"
            )
    for one in env.before.servers:
        if one.address == now and one.name not in {server.name for server in env.servers}:
            yield (
                f"networks.virtual_address: {now} is the address of {one.name}, which leaves in this run:"
                " `pulumi up` with the former one first"
            )
