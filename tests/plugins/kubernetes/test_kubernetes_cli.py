"""The adapter through the real pulumi CLI, against a real API server."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, until
from pulumi_cli import Run, Stack

PROGRAM = (Path(__file__).parent / "program.py.txt").read_text()
PASSWORD = "correct-horse-battery"
DEFAULTS: dict[str, Any] = {
    "settings": {},
    "data": {"a": "1"},
    "password": PASSWORD,
    "annotations": {},
    "replicas": 1,
    "labels": {"app": "web"},
    "command": ["true"],
    "patched": False,
}
ALL = {"ns", "fixed", "auto", "secret", "web", "service", "job", "crd", "rack"}


class Deployment:
    """The test program in a namespace of its own."""

    def __init__(self, stack: Stack, server: ApiServer, space: str) -> None:
        self.stack, self.server, self.space = stack, server, space

    def write(self, **values: Any) -> None:
        """Set the program's values; the others are as by default."""
        base = {**DEFAULTS, "kubeconfig": self.server.kubeconfig, "space": self.space}
        self.stack.write(PROGRAM, {**base, **values})

    def up(self, succeed: bool = True, **values: Any) -> Run:
        """Deploy with these values, pods running as they come."""
        self.write(**values)
        if not self.exists():
            # The kubelet needs the namespace it looks into; it comes with the deployment.
            return self._up_new(succeed)
        with self.server.kubelet(self.space):
            return self.stack.up(succeed=succeed)

    def _up_new(self, succeed: bool) -> Run:
        with self.server.kubelet(self.space):
            return self.stack.up(succeed=succeed)

    def exists(self) -> bool:
        """Whether the namespace is there."""
        return self.get("v1 namespaces", self.space) is not None

    def get(self, kind: str, name: str) -> Any:
        """An object of the namespace, or None."""
        return self.server.get(f"{kind} {name} {'' if 'namespaces' in kind else self.space}")


@pytest.fixture
def deployment(
    make_stack: Callable[[str], Stack], api_server: ApiServer, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    space = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    made = Deployment(make_stack("stack"), api_server, space)
    yield made
    if made.exists():
        with api_server.kubelet(space):
            made.stack.destroy()


def changed(run: Run) -> dict[str, str]:
    return {name: what for name, what in run.steps().items() if what not in ("same", "refresh")}


def test_life(deployment: Deployment) -> None:
    """Preview, create, no change, update in place, replace, refresh, destroy."""
    stack, server = deployment.stack, deployment.server
    deployment.write()
    preview = stack.preview()
    assert changed(preview) == dict.fromkeys(ALL, "create")
    assert not deployment.exists()

    run = deployment.up()
    assert changed(run) == dict.fromkeys(ALL, "create")
    assert any("Deployment initialization complete" in line for line in run.progress())
    states = stack.resources(secrets=True)
    assert states["web"]["outputs"]["status"]["availableReplicas"] == 1
    assert states["web"]["id"] == f"{deployment.space}/web"
    assert states["auto"]["outputs"]["metadata"]["name"].startswith("auto-")
    assert "managedFields" not in json.dumps(states)
    made = deployment.get("v1 secrets", "secret")
    assert base64.b64decode(made["data"]["password"]).decode() == PASSWORD
    assert states["rack"]["outputs"]["spec"] == {"units": 42}

    # Unchanged: nothing is done, and the adapter asks the cluster nothing but whether it is there.
    before = len(server.requests())
    assert changed(stack.preview("--expect-no-changes")) == {}
    mine = [event for event in server.requests()[before:] if "kubectl" in event.get("userAgent", "")]
    assert [event["requestURI"].split("?")[0] for event in mine] == ["/openapi/v2"]
    # And a refresh finds nothing, however the program spells what the server writes in its own way.
    assert changed(stack.refresh("--expect-no-changes")) == {}
    assert changed(stack.preview("--expect-no-changes")) == {}

    with server.kubelet(deployment.space):
        # A preview of an update shows what the server would make of it, and changes nothing.
        deployment.write(replicas=2)
        assert changed(stack.preview()) == {"web": "update"}
        assert deployment.get("apps/v1 deployments", "web")["spec"]["replicas"] == 1
    run = deployment.up(replicas=2)
    assert changed(run) == {"web": "update"}
    assert deployment.get("apps/v1 deployments", "web")["status"]["availableReplicas"] == 2

    uids = {name: state["outputs"]["metadata"]["uid"] for name, state in stack.resources().items()}
    run = deployment.up(replicas=2, labels={"app": "other"}, command=["echo", "x"], data={"a": "2"})
    assert changed(run) == {
        "web": "replace",
        "job": "replace",
        "fixed": "replace",
        "auto": "replace",
        "service": "update",
    }
    now = {name: state["outputs"]["metadata"]["uid"] for name, state in stack.resources().items()}
    assert {name for name in now if now[name] != uids[name]} == {"web", "job", "fixed", "auto"}

    # Behind our back: a value edited, an object deleted.
    server.kubectl("-n", deployment.space, "label", "configmap", "fixed", "foreign=yes")
    server.kubectl("-n", deployment.space, "patch", "configmap", "fixed", "-p", '{"data": {"a": "edited"}}')
    server.kubectl("-n", deployment.space, "delete", "service", "web")
    run = stack.refresh()
    assert "service" not in stack.resources()
    assert stack.resources()["fixed"]["inputs"]["data"] == {"a": "edited"}
    run = stack.preview()
    assert changed(run) == {"service": "create", "fixed": "replace"}

    with server.kubelet(deployment.space):
        run = stack.destroy()
    assert set(changed(run).values()) == {"delete"}
    assert not deployment.exists()
    assert stack.resources() == {}
    assert PASSWORD not in stack.files()


def test_mutable_data_is_changed_in_place(deployment: Deployment) -> None:
    values = {"settings": {"enable_config_map_mutable": True, "enable_secret_mutable": True}}
    deployment.up(**values)
    run = deployment.up(**values, data={"a": "2", "b": "3"}, password="another-password", patched=True)
    assert changed(run) == {
        "fixed": "update",
        "auto": "update",
        "secret": "update",
        "web": "update",
        "patch": "create",
    }
    assert deployment.get("v1 configmaps", "fixed")["data"] == {"a": "2", "b": "3", "patch": "yes"}
    # What the program no longer says goes; what the patch says is the patch's, and goes with it.
    run = deployment.up(**values, data={"a": "2"}, password="another-password")
    assert changed(run) == {"fixed": "update", "auto": "update", "patch": "delete"}
    assert deployment.get("v1 configmaps", "fixed")["data"] == {"a": "2"}


def test_failure_tells_why_and_the_next_run_finishes(deployment: Deployment) -> None:
    deployment.write(annotations={"pulumi.com/timeoutSeconds": "3"})
    # Without a kubelet no pod ever runs, and the Service and the Job wait for pods as the Deployment does.
    run = deployment.stack.up(succeed=False)
    assert "'web' timed out waiting to be Ready" in run.output
    assert "Deployment does not have minimum availability" in run.output
    states = deployment.stack.resources()
    assert {name for name in states if states[name].get("initErrors")} == {"web", "service", "job"}
    run = deployment.up(annotations={"pulumi.com/timeoutSeconds": "60"})
    assert changed(run)["web"] == "update"
    assert not any(state.get("initErrors") for state in deployment.stack.resources().values())


def test_killed_in_the_middle(deployment: Deployment) -> None:
    """SIGKILL of the whole run while the Deployment waits: what was made and not recorded is refused, and
    taken up when the provider is told to."""
    deployment.write()
    process = deployment.stack.start("up", "--yes", "--skip-preview", "--stack", "dev")
    until(lambda: deployment.get("apps/v1 deployments", "web") and deployment.get("batch/v1 jobs", "job"))
    # These do not wait for pods: which of them were recorded would be chance.
    until(lambda: {"crd", "rack"} <= set(deployment.stack.resources()))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    uid = deployment.get("apps/v1 deployments", "web")["metadata"]["uid"]
    deployment.stack.run("cancel", "--yes", "dev")
    # Which were not recorded yet, and which of those is refused first, is the engine's affair; it begins
    # nothing after a failure.
    run = deployment.up(succeed=False)
    kinds = r"(configmaps|secrets|services|deployments\.apps|jobs\.batch)"
    assert re.search(rf'{kinds} "[a-z]+" already exists', run.output), run.output
    deployment.up(settings={"upsert_existing_objects": True})
    assert deployment.get("apps/v1 deployments", "web")["metadata"]["uid"] == uid
    assert set(deployment.stack.resources()) == ALL
    assert changed(deployment.stack.preview("--expect-no-changes")) == {}


def test_interrupted(deployment: Deployment) -> None:
    """Ctrl-C while objects are waited for: they are in the state, and the next run finishes."""
    deployment.write()
    process = deployment.stack.start("up", "--yes", "--skip-preview", "--stack", "dev")
    until(lambda: deployment.get("apps/v1 deployments", "web") and deployment.get("batch/v1 jobs", "job"))
    os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    states = deployment.stack.resources()
    assert {"web", "job"} <= set(states)
    assert "waiting for it was cancelled" in "".join(states["web"]["initErrors"])
    deployment.up()
    assert set(deployment.stack.resources()) == ALL


def test_conflict_with_another_manager(deployment: Deployment) -> None:
    deployment.up()
    deployment.server.kubectl("-n", deployment.space, "scale", "deployment", "web", "--replicas=3")
    deployment.stack.refresh()
    assert deployment.stack.resources()["web"]["inputs"]["spec"]["replicas"] == 3
    run = deployment.up(succeed=False)
    assert 'conflict with "kubectl"' in run.output
    assert ".spec.replicas" in run.output
    run = deployment.up(annotations={"pulumi.com/patchForce": "true"})
    assert changed(run) == {"web": "update", "service": "update", "job": "update"}
    assert deployment.get("apps/v1 deployments", "web")["spec"]["replicas"] == 1


def test_an_object_of_others_is_not_taken(deployment: Deployment) -> None:
    server = deployment.server
    server.kubectl("create", "namespace", deployment.space)
    run = deployment.up(succeed=False)
    assert f'namespaces "{deployment.space}" already exists' in run.output
    server.kubectl("delete", "namespace", deployment.space)
    deployment.up()


def test_an_unreachable_cluster_can_be_previewed(deployment: Deployment, api_server: ApiServer) -> None:
    closed = json.loads(api_server.kubeconfig)
    closed["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    deployment.write(kubeconfig=json.dumps(closed))
    assert changed(deployment.stack.preview()) == dict.fromkeys(ALL, "create")
    run = deployment.stack.up(succeed=False)
    assert "configured Kubernetes cluster is unreachable: unable to load schema" in run.output
    deployment.stack.destroy()
    assert deployment.stack.resources() == {}


def test_import_and_default_namespace(stack: Stack, api_server: ApiServer) -> None:
    api_server.kubectl("create", "configmap", "imported", "--from-literal=a=1")
    program = (
        "import pulumi_kubernetes as k8s\n"
        "o = pulumi.ResourceOptions(provider=k8s.Provider('p', kubeconfig=kubeconfig), **extra)\n"
        "k8s.core.v1.ConfigMap('cm', metadata={'name': 'imported'}, data={'a': '1'}, opts=o)\n"
    )
    stack.write(program, {"kubeconfig": api_server.kubeconfig, "extra": {"import_": "default/imported"}})
    run = stack.up()
    assert run.steps()["cm"] == "import"
    stack.write(program, {"kubeconfig": api_server.kubeconfig, "extra": {}})
    stack.preview("--expect-no-changes")
    stack.destroy()
    assert api_server.get("v1 configmaps imported default") is None
