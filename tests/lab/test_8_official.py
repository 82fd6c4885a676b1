"""The same deployment goes on with Pulumi's official plugins, which is what everybody with a network has."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment import Cloud, Run, counters, turn
from known_secrets import known_secrets, seen_in_files
from official import VARIABLE, official_plugins
from test_5_declared import CONTENT, KEYS, objects_of


@pytest.fixture(scope="module")
def official(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The deployment, with the official plugins before all others on PATH."""
    stack, state = cloud.stack, cloud.stack.workspace.state
    folder = official_plugins(
        tmp_path_factory.mktemp("official"),
        home=state / "pulumi",
        ours=state / "bin",
        environment=os.environ,
    )
    if folder is None:
        pytest.skip(f"this machine has no official plugins; {VARIABLE} may name a folder that has them")
    before = stack.variables
    stack.variables = {**before, "PATH": f"{folder}:{stack.workspace.environment()['PATH']}"}
    cloud.stack.say(f"with the official plugins of {folder}")
    yield cloud
    stack.variables = before


def used(run: Run, stack_variables: dict[str, str]) -> bool:
    folder = stack_variables["PATH"].split(":")[0]
    return all(f"{folder}/pulumi-resource-{name}" in run.output for name in ("command", "kubernetes"))


def of_kubernetes(run: Run) -> dict[str, str]:
    return {label: step for label, step in run.steps().items() if label.startswith("kubernetes:")}


def leaves(state: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By kind: an object of the cluster that no other resource needs, so that the state may lose it."""
    needed: set[str] = set()
    for one in state:
        needed |= {*one.get("dependencies", []), one.get("parent", ""), one.get("deletedWith", "")}
        for each in (one.get("propertyDependencies") or {}).values():
            needed |= set(each or [])
    objects = [one for one in state if one["type"].startswith("kubernetes:") and one["urn"] not in needed]
    return {one["type"]: one for one in objects}


def test_the_switch_changes_nothing(official: Cloud) -> None:
    run = official.stack.run("preview", "--expect-no-changes")
    assert run.steps() == {}
    assert used(run, dict(official.stack.variables))


def test_one_option_changes_what_heeds_it_and_objects_are_declared(official: Cloud, tmp_path: Path) -> None:
    stack = official.stack
    disk = tmp_path / "disk.raw"
    disk.write_bytes(CONTENT)
    glance = {"options": {"DEFAULT.limit_param_default": 24}}
    try:
        stack.configure(stack.changed(openstack={"glance": glance, "objects": objects_of(disk)}))
        steps = stack.up().steps()
        assert stack.run("preview", "--expect-no-changes").steps() == {}
    finally:
        stack.configure(stack.environment)
    option = {name for label in steps if (name := label.split(" ")[1]).partition("-")[0] == "glance"}
    assert "kubernetes:apps/v1:Deployment glance" in steps
    assert option <= {"glance", "glance-contract", "glance-expand", "glance-fill"}
    others = {label.split(" ")[1] for label in steps} - option
    assert others >= KEYS
    assert {name for name in others - KEYS if not name.startswith("objects")} == set()
    stack.up()
    assert {one["urn"].split("::")[-1] for one in stack.state()}.isdisjoint(KEYS)


def test_what_somebody_scaled_by_hand_is_put_right(official: Cloud) -> None:
    """No "apply conflict": the field becomes ours again."""
    stack = official.stack
    official.kubectl("scale", "deployment/glance", "--namespace", "openstack", "--replicas", "1")
    try:
        stack.configure(stack.changed(openstack={"glance": {"replicas": 3}}))
        stack.up()
        [glance] = official.objects(
            "deployments", "--namespace", "openstack", "--field-selector", "metadata.name=glance"
        )
        assert glance["spec"]["replicas"] == 3
    finally:
        stack.configure(stack.environment)
    stack.up()


def test_every_authority_is_rotated_and_no_object_is_replaced_by_it(official: Cloud) -> None:
    stack = official.stack
    names = {one["urn"].split("::")[-1] for one in stack.state() if one["type"] == "jarvis:pki:Authority"}
    turned = sorted(name for name in counters(stack) if name in names)
    assert len(turned) >= 7, turned
    turn(stack, turned)
    run = stack.up()
    assert run.steps()["pulumi:providers:kubernetes kubernetes"] == "update"
    replaced = {label for label, step in of_kubernetes(run).items() if "replace" in step or step == "delete"}
    assert {label for label in replaced if not label.startswith("kubernetes:batch/v1:Job ")} == set()


def test_an_object_that_a_killed_run_made_and_did_not_record_is_taken_up(official: Cloud) -> None:
    stack = official.stack
    lost = leaves(stack.state())
    assert len(lost) >= 3, list(lost)
    for one in lost.values():
        stack.query("state", "delete", "--yes", one["urn"])
    steps = stack.up().steps()
    made = {f"{one['type']} {one['urn'].split('::')[-1]}" for one in lost.values()}
    assert {label for label, step in steps.items() if step == "create"} == made
    uids = {one["urn"]: one["outputs"]["metadata"]["uid"] for one in lost.values()}
    after = {one["urn"]: one["outputs"]["metadata"]["uid"] for one in stack.state() if one["urn"] in uids}
    assert after == uids


def test_a_deployment_that_was_killed_is_finished_by_the_next(official: Cloud) -> None:
    stack = official.stack
    turn(stack, ["glance-database", "gateway-certificate"])
    stack.kill_up("kubernetes:apps/v1:D", "gateway")
    stack.up()
    assert stack.run("preview", "--expect-no-changes").steps() == {}


def test_no_output_has_a_secret_before_the_end(official: Cloud) -> None:
    """Of this deployment, whose secrets nobody knows after its end."""
    stack = official.stack
    secrets = known_secrets(stack.state(secrets=True))
    assert len(secrets) > 60
    for folder in (stack.logs, stack.workspace.folder / "state"):
        assert seen_in_files(secrets, folder) == {}


def test_a_deployment_ends_and_the_next_one_begins(official: Cloud) -> None:
    """By plain commands of Pulumi: what an operator uses is of the new cloud when `pulumi up` ends."""
    stack = official.stack
    dead = stack.workspace.kubeconfig.read_text()
    stack.run("destroy", "--yes", "--skip-preview")
    assert stack.state() == []
    stack.run("up", "--yes", "--skip-preview")
    assert stack.workspace.kubeconfig.read_text() != dead
    official.tool("openstack", "--os-cloud", "jarvis", "token", "issue")
    assert sorted(official.ready_nodes()) == sorted(official.servers)
    run = stack.run("preview", "--expect-no-changes", "--diff")
    assert run.steps() == {}
    assert used(run, dict(stack.variables))


def test_no_output_has_a_secret(official: Cloud) -> None:
    secrets = known_secrets(official.stack.state(secrets=True))
    assert len(secrets) > 60
    assert seen_in_files(secrets, official.stack.logs) == {}


def test_the_plugins_of_the_machine_go_on(official: Cloud, cloud: Cloud) -> None:
    """The way back, as one who loses the network has to go."""
    folder = Path(dict(official.stack.variables)["PATH"].split(":")[0])
    variables = {**dict(official.stack.variables)}
    variables["PATH"] = variables["PATH"].removeprefix(f"{folder}:")
    before, official.stack.variables = official.stack.variables, variables
    try:
        summary = json.loads(official.stack.query("preview", "--json"))["changeSummary"]
    finally:
        official.stack.variables = before
    assert summary.keys() == {"same"}
