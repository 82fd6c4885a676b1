"""Servers that do not answer, or let nobody in, end the deployment, once they had the time to boot."""

from __future__ import annotations

from collections.abc import Callable

from deployment import Cloud, Run, Stack
from refusals import no_host_was_begun, one_error


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
