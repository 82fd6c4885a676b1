"""The first deployment, three times killed: it ends well, and leaves nothing half done."""

from __future__ import annotations

from deployment import Cloud

from jarvis import VERSION


def test_a_deployment_that_was_killed_is_finished_by_the_next(cloud: Cloud) -> None:
    assert cloud.stack.state()
    assert not [one["urn"] for one in cloud.stack.state() if one.get("delete")]


def test_the_stack_has_the_release_that_deployed_it(cloud: Cloud) -> None:
    assert cloud.stack.query("stack", "output", "jarvis").strip() == VERSION


def test_the_state_has_no_file_that_is_written_in_place(cloud: Cloud) -> None:
    """The file backend's sidecars are: a run that is killed in that moment leaves a state nobody can read."""
    state = cloud.stack.workspace.folder / "state"
    assert list(state.rglob("test.json"))
    assert list(state.rglob("*.attrs")) == []


def test_no_half_written_file_is_on_a_server(cloud: Cloud) -> None:
    """A run that was killed on the way to a rename leaves its temporary file at most until the next."""
    names = r"\( -name '.jarvis.*' -o -name '*.new' -o -name '.link.*' \)"
    places = "/etc /var/lib/jarvis /var/lib/extensions /run"
    command = f"find {places} -xdev {names}; find /var/lib/jarvis/staging -type f"
    assert dict(cloud.each(command)) == dict.fromkeys(cloud.servers, "")
