"""The virtual address, the parts of the pods' network, and what stays, against what is deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.addresses import held_addresses, holders_change, reach_address, told
from jarvis.config.before import FIXED, Before, read_before, to_record, value_at
from jarvis.config.fixed import check_fixed
from jarvis.config.pod_numbers import pod_numbers
from tests.unit.test_hosts_clock import environment

A, B, C = (IPv4Address(f"192.0.2.{at}") for at in (100, 101, 102))


def before(virtual: IPv4Address, *held: IPv4Address) -> Before:
    return Before(virtual_address=virtual, held=held or (virtual,))


@pytest.mark.parametrize(
    ("deployed", "now", "held", "reached"),
    [
        (Before(), A, [A], A),  # nothing deployed, or by an earlier version
        (before(A), A, [A], A),
        (before(A), B, [A, B], A),  # the first `up` after the change
        (before(B, A, B), B, [B], B),  # the second
        (before(B, A, B), A, [A, B], B),  # back between the two: nothing changes for the holders
        (before(B, A, B), C, [B, C], B),  # on to a third
        (before(A, A, B), C, [A, C], A),
    ],
)
def test_what_is_held_and_what_answers(
    deployed: Before, now: IPv4Address, held: list[IPv4Address], reached: IPv4Address
) -> None:
    assert list(held_addresses(now, deployed)) == held
    assert reach_address(now, deployed) == reached


@pytest.mark.parametrize("now", [A, B, C])
@pytest.mark.parametrize("deployed", [before(A), before(A, A, B), before(B, A, B)])
def test_what_is_reached_is_held_before_and_after(deployed: Before, now: IPv4Address) -> None:
    assert reach_address(now, deployed) in deployed.held
    assert reach_address(now, deployed) in held_addresses(now, deployed)


def test_holders_change_only_with_what_they_hold() -> None:
    assert not holders_change(B, Before())
    assert not holders_change(A, before(A))
    assert holders_change(B, before(A))
    assert holders_change(B, before(B, A, B))
    assert not holders_change(A, before(B, A, B))


def test_what_moves_is_told() -> None:
    assert told(A, Before()) == told(A, before(A)) == ""
    assert f"{A} stays held beside {B} until the next `pulumi up`" in told(B, before(A))
    assert told(B, before(B, A, B)) == f"networks.virtual_address: {A} is held no more after this run"
    assert f"{B} stays held beside {A}" in told(A, before(B, A, B))
    both = told(C, before(B, A, B))
    assert f"{A} is held no more" in both
    assert f"{B} stays held beside {C}" in both


def deployed(env: Environment) -> Before:
    """What the next run reads of ``env``, through the engine, which knows one kind of number."""
    return read_before(json.loads(json.dumps(to_record(env)), parse_int=float))


def test_what_is_recorded_is_read_again() -> None:
    found = deployed(environment(2))
    assert (found.virtual_address, found.held) == (A, (A,))
    assert [(one.name, str(one.address), one.number, one.lost) for one in found.servers] == [
        ("s1", "192.0.2.1", 0, False),
        ("s2", "192.0.2.2", 1, False),
    ]
    assert found.fixed["networks.pods"] == "10.244.0.0/16"
    assert found.fixed.keys() == FIXED.keys()


def test_a_record_of_an_earlier_version_is_as_none() -> None:
    assert read_before({"rotations": {"etcd": 1}, "kept": {}}) == read_before({}) == Before()


def changed(env: Environment, **networks: object) -> Environment:
    return env.model_copy(update={"networks": env.networks.model_copy(update=networks)})


def test_the_second_run_is_recorded_with_one_address() -> None:
    first = changed(environment(), virtual_address=B).after(deployed(environment()))
    assert deployed(first).held == (A, B)
    second = first.after(deployed(first))
    assert deployed(second).held == (B,)
    assert second.after(deployed(second)).held_addresses == (B,)


NAMES = ["a", "b", "c", "d"]


def numbered(*names: str, **numbers: int) -> Before:
    servers = [
        {"name": name, "address": f"192.0.2.{at}", "number": numbers.get(name, at), "lost": False}
        for at, name in enumerate(names)
    ]
    return read_before({"servers": servers})


@pytest.mark.parametrize(
    ("known", "servers", "expected"),
    [
        (Before(), ["a", "b", "c"], [0, 1, 2]),
        (numbered("a", "b", "c"), ["a", "c"], [0, 2]),  # one removed from the middle
        (numbered("a", "c", c=2), ["a", "c", "d"], [0, 2, 1]),  # the lowest that is free
        (numbered("a", "b"), ["c", "a", "b"], [2, 0, 1]),  # a new one at the front
        (numbered("a", "b", "c"), ["a", "d", "c"], [0, 3, 2]),  # the old one's pods are still there
        (numbered("a", "b", "c", "d"), ["a", "x", "c", "d"], [0, 1, 2, 3]),  # and there is no other part
        (numbered("a", "b", "c", "d"), ["d", "c", "b", "a"], [3, 2, 1, 0]),
    ],
)
def test_a_server_keeps_its_part_of_the_pods_network(
    known: Before, servers: list[str], expected: list[int]
) -> None:
    numbers = pod_numbers(servers, known, parts=4)
    assert [numbers[name] for name in servers] == expected


def test_as_many_servers_as_there_are_parts_have_one_each() -> None:
    for known in (numbered("a", "x", a=3, x=0), numbered("x", "y", "z"), numbered("d", d=2)):
        assert sorted(pod_numbers(NAMES, known, parts=4).values()) == [0, 1, 2, 3]


def test_more_servers_than_parts_are_refused() -> None:
    # Four parts of /24.
    networks = environment().networks.model_dump(mode="json") | {"pods": "10.244.0.0/22"}
    environment(4, networks=networks)
    with pytest.raises(ConfigurationError, match=r"networks\.pods: too small for 5 servers"):
        environment(5, networks=networks)


def test_removing_a_server_moves_no_pods() -> None:
    env = environment(4)
    left = env.model_copy(update={"servers": [env.servers[at] for at in (0, 2, 3)]}).after(deployed(env))
    assert [left.pod_subnet(one) for one in left.servers] == [
        env.pod_subnet(env.servers[at]) for at in (0, 2, 3)
    ]


def refusal(env: Environment, was: Environment) -> list[str]:
    """The lines of the one error."""
    with pytest.raises(ConfigurationError) as caught:
        check_fixed(env.after(deployed(was)))
    head, *lines, way_out = str(caught.value).splitlines()
    assert head == "this cannot change while the cloud is deployed; nothing has been changed:"
    assert "pulumi stack init" in way_out
    assert "pulumi destroy" in way_out
    return [line.strip() for line in lines]


OTHER: dict[str, object] = {
    "name": "other",
    "networks.pods": IPv4Network("10.245.0.0/16"),
    "networks.services": IPv4Network("10.97.0.0/16"),
    "networks.node_prefix": 25,
    "networks.cluster_domain": "other.local",
    "networks.domain": "other.example.org",
    "openstack.namespace": "other",
    "openstack.region": "Other",
}


def with_value(env: Environment, path: str, value: object) -> Environment:
    section, _, field = path.rpartition(".")
    if not section:
        return env.model_copy(update={field: value})
    return env.model_copy(update={section: getattr(env, section).model_copy(update={field: value})})


def test_every_fixed_field_is_tried() -> None:
    assert OTHER.keys() == FIXED.keys()


@pytest.mark.parametrize("path", FIXED)
def test_a_fixed_field_does_not_change(path: str) -> None:
    env = environment()
    other = with_value(env, path, OTHER[path])
    [line] = refusal(other, env)
    assert line.startswith(f"{path}: {value_at(env, path)} is deployed, and {OTHER[path]} is not possible: ")
    check_fixed(other)
    check_fixed(other.after(deployed(other)))


def test_all_are_told_at_once() -> None:
    env = environment(3)
    other = env
    for path, value in OTHER.items():
        other = with_value(other, path, value)
    other = other.model_copy(update={"servers": other.servers[::-1]})
    assert [line.split(":")[0] for line in refusal(other, env)] == [*FIXED, "servers"]


def servers(env: Environment, **changes: object) -> Environment:
    """``env`` whose second server has ``changes``."""
    one, two, *rest = env.servers
    return env.model_copy(update={"servers": [one, two.model_copy(update=changes), *rest]})


def test_a_server_keeps_name_and_address() -> None:
    env = environment(3)
    [line] = refusal(servers(env, address=IPv4Address("192.0.2.9")), env)
    assert line.startswith("servers[1].address: s2 is deployed at 192.0.2.2;")
    [line] = refusal(servers(env, name="s9"), env)
    assert line.startswith("servers[1].name: 192.0.2.2 is s2, which would leave and take all with it")
    # A lost one has left all clusters: another may have its address, and not it another.
    gone = servers(env, lost=True)
    check_fixed(servers(env, name="s9").after(deployed(gone)))
    assert len(refusal(servers(gone, address=IPv4Address("192.0.2.9")), gone)) == 1


def test_servers_that_stay_keep_their_order() -> None:
    env = environment(4)
    one, two, three, four = env.servers
    for kept in ([one, three], [four, one, two], [one, four, two, three], [one, two, three, four]):
        was = env.model_copy(update={"servers": [one, two, three]})
        check_fixed(env.model_copy(update={"servers": kept}).after(deployed(was)))
    [line] = refusal(env.model_copy(update={"servers": [two, one, four, three]}), env)
    assert line.startswith("servers: deployed in the order s1, s2, s3, s4,")


def test_a_server_and_the_virtual_address_do_not_change_places_at_once() -> None:
    was = environment(2)
    moved = changed(was, virtual_address=B)
    taken = moved.model_copy(update={"servers": [*was.servers, environment(3).servers[2]]})
    taken = taken.model_copy(
        update={"servers": [*was.servers, taken.servers[2].model_copy(update={"address": A})]}
    )
    [line] = refusal(taken, was)
    assert line.startswith(f"servers[2].address: {A} is held as a virtual address still")
    # Held until the end of the second run, and free after it.
    first = moved.after(deployed(was))
    second = first.after(deployed(first))
    assert len(refusal(taken, first)) == 1
    check_fixed(taken.after(deployed(second)))

    address = was.servers[1].address
    left = changed(was.model_copy(update={"servers": was.servers[:1]}), virtual_address=address)
    [line] = refusal(left, was)
    assert line.startswith(f"networks.virtual_address: {address} is the address of s2, which leaves")


OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def rows() -> dict[str, str]:
    """What the table of operating.md says of each field: whether it changes."""
    text = OPERATING.read_text(encoding="utf-8").partition("\n## What can change\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("| `"):
            fields, changes, _ = line.strip("| ").split(" | ", 2)
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", fields), changes)
    return found


def paths(model: type[BaseModel], above: str = "") -> Iterator[list[str]]:
    """Every field of ``model``, as its path and those of the sections that it is in."""
    for name, field in model.model_fields.items():
        path = f"{above}{name}"
        kind: Any = Server if name == "servers" else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            end = "[]." if kind is Server else "."
            for below in paths(kind, f"{path}{end}"):
                yield below if kind is Server else [path, *below]
        else:
            yield [path]


def test_operators_are_told_of_every_field_what_it_does() -> None:
    told = rows()
    fields = list(paths(Environment))
    assert len(fields) > 60
    assert [each[-1] for each in fields if not set(each) & told.keys()] == []
    assert told.keys() <= {one for each in fields for one in each} | {"servers"}


def test_operators_are_told_what_is_refused() -> None:
    assert {path for path, changes in rows().items() if changes == "no"} == {
        *FIXED,
        "servers[].name",
        "servers[].address",
    }
