"""Which deployment a server belongs to: what its commands do on one of another, and what a state tells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jarvis.config import ConfigurationError, parse_environment
from jarvis.hosts import deployment
from jarvis.hosts.preflight import arguments
from tests.unit.harness import Registered
from tests.unit.test_kubernetes_graph import REMOTE, cluster
from tests.unit.test_kubernetes_text import environment

OURS, OTHER = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "12")


def run(line: str, folder: Path, mark: str | None) -> tuple[int, str]:
    """Status and stderr of ``line`` on a server that bears ``mark``."""
    file = folder / "mark"
    file.unlink(missing_ok=True)
    if mark is not None:
        file.write_text(f"{mark}\n")
    text = line.replace(deployment.MARK, str(file))
    done = subprocess.run(["sh", "-euc", text], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_id_is_stable_and_tells_nothing_of_what_it_is_made_of() -> None:
    assert deployment.deployment_id("a") == deployment.deployment_id("a") != deployment.deployment_id("b")
    assert "secret" not in deployment.deployment_id("secret")


@pytest.mark.parametrize(("mark", "status"), [(None, 0), (OURS, 0), (OTHER, 1)])
def test_nothing_is_installed_on_a_server_of_another_deployment(
    tmp_path: Path, mark: str | None, status: int
) -> None:
    found, told = run(deployment.refusal("s1", OURS, []), tmp_path, mark)
    assert found == status
    assert (OTHER in told) == bool(status)
    assert run(deployment.refusal("s1", OURS, [OTHER]), tmp_path, mark)[0] == 0


@pytest.mark.parametrize(("mark", "removed"), [(None, True), (OURS, True), (OTHER, False)])
def test_a_server_that_belongs_to_another_deployment_by_now_is_not_emptied(
    tmp_path: Path, mark: str | None, removed: bool
) -> None:
    status, told = run(deployment.unless_foreign(OURS, "echo REMOVED"), tmp_path, mark)
    assert status == 0
    assert ("REMOVED" in told) == removed


def test_a_states_own_servers_are_told_from_ones_that_it_meets_first() -> None:
    graph = cluster(environment())
    known = {one.name: one for one in graph.resources.values() if one.kind == REMOTE}
    ids = set()
    for name, one in known.items():
        if name.endswith("-preflight"):
            assert "known=yes" not in one.inputs["create"]
            assert one.inputs["update"] == f"{one.inputs['create']} known=yes"
            (word,) = (word for word in one.inputs["create"].split() if word.startswith("deployment="))
            ids.add(word.partition("=")[2])
        if name.endswith("-apply"):
            ids.add(_id_of(one))
        if name.endswith("-base"):
            assert f"|{next(iter(ids))}\n" in one.inputs["create"]
    assert len(ids) == 1


def _id_of(one: Registered) -> str:
    """The id that a server's tools are installed for, and removed for."""
    installed = one.inputs["create"].split("case $id in ''|'")[1].split("'")[0]
    removed = one.inputs["delete"].split("case $id in ''|'")[1].split("'")[0]
    assert installed == removed
    return str(installed)


def test_the_configuration_names_whose_server_is_taken_over() -> None:
    values = environment().model_dump(mode="json", exclude_unset=True)
    assert "take_over" not in arguments(parse_environment(values, "a test"), environment().servers[0])
    values["servers"][0] |= {"take_over": OTHER}
    env = parse_environment(values, "a test")
    assert arguments(env, env.servers[0])["take_over"] == OTHER
    made = {one.name: one for one in cluster(env).resources.values() if one.kind == REMOTE}
    (taken, *rest) = [made[f"{server.name}-apply"].inputs["create"] for server in env.servers]
    assert f"|'{OTHER}')" in taken
    assert not [text for text in rest if OTHER in text]


@pytest.mark.parametrize("value", ["yes", "1234", "unnamed-", f"{OTHER} "[:-2]])
def test_a_take_over_names_an_id(value: str) -> None:
    values = environment().model_dump(mode="json", exclude_unset=True)
    values["servers"][0] |= {"take_over": value}
    with pytest.raises(ConfigurationError, match="take_over"):
        parse_environment(values, "a test")
