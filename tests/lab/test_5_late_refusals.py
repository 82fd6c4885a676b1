"""Servers that do not answer, or let nobody in, end the deployment, once they had the time to boot."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from deployment import Cloud, Run, Stack
from refusals import no_host_was_begun, one_error, refused


def test_an_unreachable_server_ends_the_deployment(
    long_refusals: dict[str, Callable[[], tuple[Stack, Run]]], cloud: Cloud
) -> None:
    stack, run = long_refusals["unreachable"]()
    assert run.status != 0
    told = one_error(run, stack.environment["servers"][0]["address"])
    # A bare server refuses; one that has its firewall by now answers that there is no way to this port.
    assert "refused" in told or "No route to host" in told
    no_host_was_begun(stack)


def test_a_server_that_lets_nobody_in_ends_the_deployment(
    long_refusals: dict[str, Callable[[], tuple[Stack, Run]]], cloud: Cloud
) -> None:
    stack, run = long_refusals["credentials"]()
    assert run.status != 0
    one_error(run, stack.environment["servers"][0]["address"], "ermission denied")
    no_host_was_begun(stack)


def test_a_fresh_state_is_refused_on_the_servers_of_another(
    cloud: Cloud, make_stack: Callable[..., Stack]
) -> None:
    ids = set(dict(cloud.each("cat /var/lib/jarvis/deployment")).values())
    assert len(ids) == 1
    stack = make_stack("test-foreign")
    assert stack.environment["name"] == cloud.stack.environment["name"]
    errors = [text for text in refused(stack).errors() if "another state deployed this server" in text]
    assert len(errors) == len(cloud.servers)
    for text in errors:
        assert f"take_over: {next(iter(ids)).strip()}" in text
    no_host_was_begun(stack)


def test_what_cannot_change_is_told_at_once_and_before_anything(cloud: Cloud) -> None:
    stack = cloud.stack
    before = {one["urn"]: one.get("inputs") for one in stack.state(secrets=True)}
    servers = [dict(server) for server in stack.environment["servers"][::-1]]
    known = Path(servers[0].pop("host_key_file")).read_text().splitlines()
    [key] = [line.partition(" ")[2] for line in known if line.startswith(f"{servers[0]['address']} ")]
    servers[0] |= {"address": str(ip_network(cloud.facts["network"])[77]), "host_key": key}
    wrong = stack.changed(
        networks={"pods": "10.245.0.0/16", "cluster_domain": "other.local"}, openstack={"namespace": "other"}
    )
    try:
        stack.configure({**wrong, "name": "other", "servers": servers})
        runs = [stack.attempt("preview"), refused(stack)]
    finally:
        stack.configure(stack.environment)
    for run in runs:
        assert run.status != 0
        assert run.steps() == {}
        fields = ("name", "networks.pods", "networks.cluster_domain", "openstack.namespace")
        lines = one_error(run, "this cannot change while the cloud is deployed").splitlines()
        told = [line.strip().partition(": ")[0] for line in lines if line.startswith("  ")]
        assert told == [*fields, "servers[0].address", "servers"]
    assert {one["urn"]: one.get("inputs") for one in stack.state(secrets=True)} == before
