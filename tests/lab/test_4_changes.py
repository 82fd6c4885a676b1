"""What an operator is shown, and what a deployment touches: what has changed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deployment import Cloud
from refusals import one_error

APISERVER = "control-plane-apiserver"


def units(cloud: Cloud) -> dict[str, str]:
    """By server: each unit that Jarvis runs there, and since when."""
    command = (
        "cat /var/lib/jarvis/roles/*/units | sort -u | "
        "xargs systemctl show --property Id,ActiveEnterTimestamp,MainPID,NRestarts"
    )
    found = dict(cloud.each(command))
    for server, text in found.items():
        assert "Id=kube-apiserver.service" in text, server
    return found


def pods(cloud: Cloud) -> dict[str, list[Any]]:
    """The containers of each pod, since when they run, and how often they were restarted."""
    return {
        pod["metadata"]["uid"]: [
            (status["containerID"], status["restartCount"], status["state"].get("running"))
            for status in pod["status"]["containerStatuses"]
        ]
        for pod in cloud.objects("pods", "--all-namespaces")
    }


def test_an_unchanged_stack_has_no_changes(cloud: Cloud) -> None:
    assert cloud.stack.run("preview", "--expect-no-changes", "--diff").steps() == {}


def test_a_second_up_restarts_nothing(cloud: Cloud) -> None:
    before = units(cloud), pods(cloud)
    assert cloud.stack.up().steps() == {}
    assert (units(cloud), pods(cloud)) == before


def test_the_preview_of_replicas_shows_one_deployment(cloud: Cloud) -> None:
    stack = cloud.stack
    try:
        stack.configure(stack.changed(openstack={"keystone": {"replicas": 3}}))
        run = stack.run("preview", "--diff")
    finally:
        stack.configure(stack.environment)
    assert run.steps() == {"kubernetes:apps/v1:Deployment keystone": "update"}
    assert "replicas" in run.output


def test_the_preview_of_an_apiserver_flag_shows_the_apiservers(cloud: Cloud) -> None:
    stack = cloud.stack
    try:
        stack.configure(stack.changed(kubernetes={"apiserver_flags": {"max-requests-inflight": 401}}))
        run = stack.run("preview", "--diff")
    finally:
        stack.configure(stack.environment)
    assert run.steps() == {
        f"command:remote:Command {server}-{APISERVER}": "update" for server in cloud.servers
    }
    assert "--max-requests-inflight=401" in run.output


def test_the_preview_of_a_rotation_shows_no_secret_and_no_other_one(cloud: Cloud) -> None:
    """Searched for secrets by test_7_secrets.py, as the output of every run is."""
    stack = cloud.stack
    try:
        stack.configure(stack.changed(rotations={"keystone-admin": 1}))
        run = stack.run("preview", "--diff")
    finally:
        stack.configure(stack.environment)
    steps = run.steps()
    assert {name for name in steps if "keystone-bootstrap" in name or "keystone-admin" in name} == set(steps)
    assert steps


def test_a_preview_changed_nothing(cloud: Cloud) -> None:
    assert json.loads(cloud.stack.query("preview", "--json"))["changeSummary"].keys() == {"same"}


def test_a_counter_that_jumps_ends_the_preview(cloud: Cloud) -> None:
    stack = cloud.stack
    before = stack.environment.get("rotations", {}).get("keystone-admin", 0)
    try:
        stack.configure(stack.changed(rotations={"keystone-admin": before + 2}))
        run = stack.attempt("preview")
    finally:
        stack.configure(stack.environment)
    assert run.status != 0
    one_error(run, "counters of rotations go up by one", "rotations.keystone-admin", f"{before + 1} first")


# Read by each Python at its start: that of the program has another time then.
CLOCK = """
import time
now = time.time
time.time = lambda: now() + 1000 * 86400
"""


def test_an_operators_clock_years_off_ends_the_preview(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    stack, variables = cloud.stack, cloud.stack.variables
    try:
        stack.variables = {**variables, "PYTHONPATH": str(tmp_path)}
        run = stack.attempt("preview")
    finally:
        stack.variables = variables
    assert run.status != 0
    assert run.steps() == {}
    one_error(run, "the clock of this machine is", "(1000 days) ahead of the clocks of", *cloud.servers)


def test_a_secret_option_is_typed_and_previewed_without_its_value(cloud: Cloud) -> None:
    stack, value = cloud.stack, "a-password-of-somebodys-directory"
    path = 'jarvis:environment.openstack.keystone.secret_options["ldap.password"]'
    try:
        stack.query("config", "set", "--secret", "--path", path, value)
        assert stack.workspace.config is not None
        assert value not in stack.workspace.config.read_text()
        run = stack.run("preview", "--diff")
        stack.configure(stack.changed(openstack={"keystone": {"options": {"ldap.password": value}}}))
        refused = stack.attempt("preview")
    finally:
        stack.configure(stack.environment)
    assert run.steps() == {
        "kubernetes:core/v1:Secret keystone": "update",
        "kubernetes:apps/v1:Deployment keystone": "update",
    }
    one_error(refused, "ldap.password is a secret", f"pulumi config set --secret --path '{path}'")
    assert value not in run.output + json.dumps(run.events)
    # The engine's first event is the configuration as it was typed, here in the clear.
    rest = [event for event in refused.events if "preludeEvent" not in event]
    assert rest
    assert value not in refused.output + json.dumps(rest)
