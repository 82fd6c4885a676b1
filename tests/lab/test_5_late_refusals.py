"""Servers that do not answer, or let nobody in, end the deployment, once they had the time to boot."""

from __future__ import annotations

from collections.abc import Callable

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
