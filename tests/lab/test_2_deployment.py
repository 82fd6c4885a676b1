"""The first deployment, three times killed: it ends well, and leaves nothing half done."""

from __future__ import annotations

from collections.abc import Callable

from deployment import Cloud, Run, Stack
from refusals import no_host_was_begun, one_error


def test_a_deployment_that_was_killed_is_finished_by_the_next(cloud: Cloud) -> None:
    assert cloud.stack.state()
    assert not [one["urn"] for one in cloud.stack.state() if one.get("delete")]


def test_no_half_written_file_is_on_a_server(cloud: Cloud) -> None:
    """A run that was killed on the way to a rename leaves its temporary file at most until the next."""
    names = r"\( -name '.jarvis.*' -o -name '*.new' -o -name '.link.*' \)"
    places = "/etc /var/lib/jarvis /var/lib/extensions /run"
    command = f"find {places} -xdev {names}; find /var/lib/jarvis/staging -type f"
    assert dict(cloud.each(command)) == dict.fromkeys(cloud.servers, "")


def test_an_unreachable_server_ends_the_deployment(
    long_refusals: dict[str, Callable[[], tuple[Stack, Run]]], cloud: Cloud
) -> None:
    stack, run = long_refusals["unreachable"]()
    assert run.status != 0
    one_error(run, stack.environment["servers"][0]["address"], "refused")
    no_host_was_begun(stack)


def test_a_server_that_lets_nobody_in_ends_the_deployment(
    long_refusals: dict[str, Callable[[], tuple[Stack, Run]]], cloud: Cloud
) -> None:
    stack, run = long_refusals["credentials"]()
    assert run.status != 0
    one_error(run, stack.environment["servers"][0]["address"], "ermission denied")
    no_host_was_begun(stack)
