"""What others change in Jarvis' objects on a real API server, for each kind: seen, named, and taken back.

The objects are those of the development stack. The API is asked as on a server of the control plane, as the
controller manager, by an ``ssh`` that runs the command line here. With the adapter, and with the official
plugin where JARVIS_OFFICIAL_PLUGINS names a folder that has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, until
from pulumi_cli import ROOT, Run, Stack

from jarvis.core.identity import KINDS, Identity
from jarvis.core.objects import SEEN
from jarvis.kubernetes.identity import ADMINISTRATORS
from jarvis.pki.generator import generate
from tests.golden.test_golden import graph_of
from tests.lab.official import VARIABLE, official_plugins

PROGRAM = (Path(__file__).parent / "drift_program.py.txt").read_text()
RING = "keystone-fernet-keys"
# No pod runs here.
UNWATCHED = {"pulumi.com/skipAwait": "true"}


class Control:
    """A control plane that clients reach by certificates. ``environment``: of who asks it as by ssh.
    ``admin``: an administrator's certificate."""

    def __init__(self, folder: Path, tools: Path) -> None:
        made = json.loads(generate({"kind": "authority", "common_name": "ca", "generation": 1}))
        signer = {"common_name": "ca", "key": made["key"]}

        def leaf(name: str, *groups: str, server: bool = False) -> dict[str, str]:
            found: dict[str, str] = json.loads(
                generate(
                    {
                        "kind": "certificate",
                        "authority": signer,
                        "common_name": name,
                        "organizations": list(groups),
                        "dns_names": [],
                        "addresses": ["127.0.0.1"] if server else [],
                        "client": not server,
                        "server": server,
                        "days": 1,
                    }
                )
            )
            return found

        place = folder / "root" / "etc/kubernetes/controllers/controller-manager"
        place.mkdir(parents=True)
        for name, pair in (
            ("client", leaf("system:kube-controller-manager")),
            ("server", leaf("kube-apiserver", server=True)),
        ):
            (place / f"{name}.crt").write_text(pair["certificate"])
            (place / f"{name}.key").write_text(pair["key"])
        (place / "ca.crt").write_text(made["certificate"])
        self.api = ApiServer(
            folder,
            tools,
            flags=[
                f"--client-ca-file={place / 'ca.crt'}",
                f"--tls-cert-file={place / 'server.crt'}",
                f"--tls-private-key-file={place / 'server.key'}",
            ],
        )
        self.address = f"https://127.0.0.1:{self.api.port}"
        self.admin = {"authority": made["certificate"], **leaf("admin", ADMINISTRATORS)}
        (folder / "bin").mkdir()
        ssh = folder / "bin" / "ssh"
        ssh.write_text('#!/bin/bash\nexec bash -c "${@: -1}"\n')
        ssh.chmod(0o755)
        self.path = str(folder / "bin")
        self.environment = {
            "JARVIS_ROOT": str(folder / "root"),
            "JARVIS_API": self.address,
            "PYTHONPATH": str(ROOT),
        }


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, pulumi_tools: Path) -> Iterator[Control]:
    made = Control(tmp_path_factory.mktemp("control"), pulumi_tools)
    try:
        made.api.start()
        yield made
    finally:
        made.api.stop()


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The objects of the development stack: kind, name of the resource, fields, and what is not theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        graph = graph_of("dev", tmp_path_factory.mktemp("project"))
    found = []
    for one in graph.resources.values():
        if one.kind.startswith("kubernetes:"):
            fields = {key: value for key, value in one.inputs.items() if key not in ("apiVersion", "kind")}
            metadata = fields["metadata"]
            # Of a Namespace its end is waited for, which the next test needs.
            notes = {} if one.kind.endswith(":Namespace") else UNWATCHED
            fields["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), **notes}}
            found.append(
                {
                    "kind": one.kind.rpartition(":")[2],
                    "name": one.name,
                    "fields": fields,
                    "ignores": sorted(one.ignores),
                }
            )
    assert {one["kind"] for one in found} == KINDS.keys()
    return sorted(found, key=lambda one: one["kind"] != "Namespace")


class Deployment:
    """The objects in a stack."""

    def __init__(self, stack: Stack, control: Control, declared: list[dict[str, Any]]) -> None:
        self.stack, self.control, self.declared = stack, control, declared
        stack.environment |= control.environment
        stack.environment["PATH"] = f"{control.path}{os.pathsep}{stack.environment['PATH']}"
        # Its commands run where the program is.
        (stack.folder / "jarvis").symlink_to(ROOT / "jarvis")
        self.write()

    def write(self, *elsewhere: dict[str, str]) -> None:
        self.stack.write(
            PROGRAM,
            {
                "declared": self.declared,
                "address": self.control.address,
                "admin": self.control.admin,
                "kubeconfig": self.control.api.kubeconfig,
                "elsewhere": elsewhere,
            },
        )

    def get(self, one: Identity) -> Any:
        return self.control.api.call("GET", one.path)

    def kubectl(self, line: str, *words: str) -> None:
        self.control.api.kubectl(*line.split(), *words)

    def patch(self, one: Identity, what: Any, manager: str = "somebody") -> None:
        """``what`` is a merge patch, or a list of operations."""
        kind = "json-patch" if isinstance(what, list) else "merge-patch"
        self.control.api.call("PATCH", f"{one.path}?fieldManager={manager}", what, f"application/{kind}+json")


def changed(run: Run) -> dict[str, str]:
    """By type and name, what was done to it."""
    out: dict[str, str] = {}
    for event in run.events:
        metadata = event.get("resourcePreEvent", {}).get("metadata")
        if metadata and not metadata["type"].startswith("pulumi:") and metadata["op"] != "same":
            label = f"{metadata['type'].rpartition(':')[2]} {metadata['urn'].rpartition('::')[2]}"
            if out.get(label) != "replace":
                out[label] = metadata["op"]
    return out


def told(run: Run) -> list[str]:
    events = [event["diagnosticEvent"] for event in run.events if "diagnosticEvent" in event]
    found = [each["message"].strip() for each in events if each["severity"] == "warning"]
    found = [each.removeprefix("Kubernetes: ") for each in found]
    return [each for each in found if not each.startswith("using pulumi-resource-")]


@pytest.fixture(params=["adapter", "official"])
def deployment(
    request: pytest.FixtureRequest,
    make_stack: Callable[[str], Stack],
    control: Control,
    declared: list[dict[str, Any]],
    tmp_path: Path,
) -> Iterator[Deployment]:
    stack = make_stack("stack")
    if request.param == "official":
        plugins = official_plugins(
            tmp_path / "official",
            home=Path(os.environ.get("PULUMI_HOME", Path.home() / ".pulumi")),
            ours=ROOT / ".jarvis" / "bin",
            environment=os.environ,
        )
        if plugins is None:
            pytest.skip(f"no official plugins here; {VARIABLE} names a folder that has them")
        launcher = stack.folder / "launchers" / "pulumi-resource-kubernetes"
        launcher.unlink()
        launcher.symlink_to(plugins / launcher.name)
    made = Deployment(stack, control, declared)
    yield made
    stack.destroy()


def in_openstack(kind: str, name: str) -> Identity:
    return Identity(kind=kind, namespace="openstack", name=name)


GLANCE = in_openstack("Deployment", "glance")
OPTIONS = in_openstack("ConfigMap", "glance")
CONTAINER = "spec.template.spec.containers[name=glance]"
BINDING = Identity(kind="ClusterRoleBinding", name="jarvis:operators")
KEYS = in_openstack("Secret", RING)


# Of each kind at least one: what is changed, as a merge patch or a list of operations, and what is said.
SOMEBODY = "by somebody 2"
ENV = {"name": "OS_DEFAULT__DEBUG", "value": "true"}
CHANGES: list[tuple[Identity, Any, str]] = [
    (OPTIONS, {"data": {"OS_DEFAULT__DEBUG": "true"}}, f"data.OS_DEFAULT__DEBUG: added {SOMEBODY}"),
    (
        in_openstack("ConfigMap", "keystone"),
        {"data": {"OS_DATABASE__MAX_RETRIES": None}},
        "data.OS_DATABASE__MAX_RETRIES: removed",
    ),
    (
        Identity(kind="ConfigMap", namespace="gateway", name="gateway"),
        {"data": {"haproxy.cfg": "# mine"}},
        f'data["haproxy.cfg"]: changed {SOMEBODY}',
    ),
    (
        in_openstack("Secret", "glance"),
        {"data": {"OS_DATABASE__CONNECTION": "bWluZQ==", "MINE": "bWluZQ=="}},
        f"data.MINE: added {SOMEBODY}",
    ),
    (
        GLANCE,
        [{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": ENV}],
        f"{CONTAINER}.env[name=OS_DEFAULT__DEBUG]: added {SOMEBODY}",
    ),
    (
        in_openstack("Deployment", "keystone-cache-1"),
        [{"op": "remove", "path": "/spec/template/spec/containers/0/readinessProbe"}],
        "readinessProbe.periodSeconds: removed",
    ),
    (
        Identity(kind="DaemonSet", namespace="gateway", name="gateway"),
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mine"}],
        f"image: changed {SOMEBODY}",
    ),
    (
        in_openstack("Service", "glance"),
        {"spec": {"selector": {"mine": "yes"}}},
        f"spec.selector: changed {SOMEBODY}",
    ),
    (
        in_openstack("EndpointSlice", "database"),
        {"endpoints": [{"addresses": ["192.0.2.1"]}]},
        f"endpoints: changed {SOMEBODY}",
    ),
    (
        in_openstack("Job", "glance-expand"),
        {"spec": {"activeDeadlineSeconds": 9999}},
        f"spec.activeDeadlineSeconds: added {SOMEBODY}",
    ),
    (
        in_openstack("CronJob", "keystone-fernet"),
        {"spec": {"suspend": True}},
        f"spec.suspend: added {SOMEBODY}",
    ),
    (
        Identity(kind="Namespace", name="openstack"),
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
        f'metadata.labels["pod-security.kubernetes.io/enforce"]: changed {SOMEBODY}',
    ),
    (
        Identity(kind="PodDisruptionBudget", namespace="gateway", name="gateway"),
        {"spec": {"minAvailable": 0}},
        f"spec.minAvailable: changed {SOMEBODY}",
    ),
    (in_openstack("Role", "keystone-fernet"), {"rules": []}, f"rules: changed {SOMEBODY}"),
    (in_openstack("RoleBinding", "keystone-fernet"), {"subjects": None}, "subjects: removed"),
    (
        Identity(kind="ClusterRole", name="jarvis:coredns"),
        {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]},
        f"rules: changed {SOMEBODY}",
    ),
    (
        Identity(kind="ServiceAccount", namespace="kube-system", name="coredns"),
        {"automountServiceAccountToken": False},
        f"automountServiceAccountToken: added {SOMEBODY}",
    ),
    (
        Identity(kind="ClusterRoleBinding", name="jarvis:coredns"),
        {"metadata": {"annotations": {"mine": "yes"}}},
        f"metadata.annotations.mine: added {SOMEBODY}",
    ),
]
# Which are put right by the update of the object alone.
DELETED = (BINDING, in_openstack("Service", "keystone"), in_openstack("Job", "glance-contract"))


def wanted(found: Any) -> Any:
    """What an object is told to be, without what the server and this say of it."""
    out = {key: value for key, value in found.items() if key not in ("status", "metadata")}
    metadata = found["metadata"]
    notes = dict(metadata.get("annotations") or {})
    for name in (SEEN, "deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"):
        notes.pop(name, None)
    text = json.dumps({**out, "labels": metadata.get("labels"), "annotations": notes}, sort_keys=True)
    # Of a Job, which has its own among its labels.
    return text.replace(metadata["uid"], "UID")


def test_what_others_change_is_seen_named_and_taken_back(deployment: Deployment) -> None:
    stack = deployment.stack
    stack.up()
    # The controllers have seen them all: nothing of what they wrote is a finding.
    run = stack.preview("--expect-no-changes")
    assert (changed(run), told(run)) == ({}, [])
    resources = {
        Identity(
            kind=one["kind"],
            namespace=one["fields"]["metadata"].get("namespace", ""),
            name=one["fields"]["metadata"]["name"],
        ): f"{one['kind']} {one['name']}"
        for one in deployment.declared
    }
    touched = [one for one, _, _ in CHANGES]
    assert {one.kind for one in (*touched, *DELETED)} == KINDS.keys()
    before = {one: wanted(deployment.get(one)) for one in (*touched, *DELETED)}

    for one, what, _ in CHANGES:
        deployment.patch(one, what)
    for one in DELETED:
        deployment.control.api.call("DELETE", one.path)
    until(lambda: not any(map(deployment.get, DELETED)))
    # Others than `somebody`, by kubectl's own ways.
    scaled = in_openstack("Deployment", "keystone")
    before[scaled] = wanted(deployment.get(scaled))
    deployment.kubectl("-n openstack scale deployment keystone --replicas=7")
    labelled = in_openstack("ConfigMap", "authorities")
    before[labelled] = wanted(deployment.get(labelled))
    deployment.kubectl(
        "-n openstack label --overwrite configmap authorities a.b/c=d app.kubernetes.io/name=e"
    )
    # What is rightly others': the rotation of keys, and what `kubectl rollout restart` leaves.
    deployment.patch(
        KEYS,
        {"data": {"0": "a2V5"}, "metadata": {"annotations": {"jarvis.internal/rotated-by": "job"}}},
        "jarvis-keys",
    )
    deployment.patch(KEYS, {"data": {"1": "a2V5"}}, "kubectl-edit")
    deployment.kubectl("-n openstack rollout restart deployment keystone-cache-2")

    preview = stack.preview("--diff")
    said = told(preview)
    missing = [
        f"{one}: {sentence}"
        for one, _, sentence in CHANGES
        if not any(each.startswith(f"{one}: ") and sentence in each for each in said)
    ]
    assert missing == [], "\n".join(said)
    for one in DELETED:
        assert f"{one}: deleted" in said
    about = {one: [each for each in said if each.startswith(f"{one}: ")] for one in (scaled, labelled)}
    assert [each.partition(" 2")[0] for each in about[scaled]] == [
        f"{scaled}: spec.replicas: changed by kubectl"
    ]
    assert [each.partition(" 2")[0] for each in about[labelled]] == [
        f'{labelled}: metadata.labels["a.b/c"]: added by kubectl-label',
        f'{labelled}: metadata.labels["app.kubernetes.io/name"]: changed by kubectl-label',
    ]
    found = {*touched, *DELETED, scaled, labelled}
    assert {each.partition(": ")[0] for each in said} == {str(one) for one in found}
    steps = {
        **{resources[one]: "replace" if one in DELETED else "update" for one in found},
        # Only what was added must be taken from somebody.
        **{
            f"Command {resources[one].partition(' ')[2]}-{one.kind.lower()}-taken-back": "create"
            for one, _, sentence in CHANGES
            if ": added " in sentence
        },
        "Command openstack-authorities-configmap-taken-back": "create",
    }
    assert changed(preview) == steps
    assert "OS_DEFAULT__DEBUG: added by somebody" in preview.output
    assert "bWluZQ" not in preview.output + stack.files()

    generations = {one: deployment.get(one)["metadata"].get("generation") for one in (GLANCE, scaled)}
    assert changed(stack.up()) == steps
    for one in found:
        assert wanted(deployment.get(one)) == before[one], one
    # One step back: pods are replaced once.
    for one, generation in generations.items():
        assert deployment.get(one)["metadata"]["generation"] == generation + 1
    assert deployment.get(KEYS)["data"] == {"0": "a2V5", "1": "a2V5"}
    run = stack.preview("--expect-no-changes")
    assert (changed(run), told(run)) == ({}, [])
    stack.refresh("--expect-no-changes")

    # The same once more is a change once more.
    deployment.patch(OPTIONS, CHANGES[0][1])
    steps = {"ConfigMap glance": "update", "Command glance-configmap-taken-back": "update"}
    assert changed(stack.up()) == steps
    assert deployment.get(OPTIONS)["metadata"]["annotations"][SEEN].startswith("2: data.OS_DEFAULT__DEBUG: a")
    assert changed(stack.preview("--expect-no-changes")) == {}


def test_a_field_that_is_owned_elsewhere_is_left_to_its_owner(deployment: Deployment) -> None:
    stack, given = deployment.stack, {"field": "spec.replicas", "manager": "autoscaler"}
    stack.up()
    glance = {"kind": "Deployment", "namespace": "openstack", "name": "glance"}
    deployment.write({**glance, **given})
    assert told(stack.preview()) == [
        f"{GLANCE}: spec.replicas: autoscaler does not own it, so it gets the API's default with the next"
        " change of the object; let that manager write it before"
    ]
    deployment.patch(GLANCE, {"spec": {"replicas": 5}}, "autoscaler")
    run = stack.up()
    assert (changed(run), told(run)) == ({"Deployment glance": "update"}, [])
    assert deployment.get(GLANCE)["spec"]["replicas"] == 5
    deployment.patch(GLANCE, {"spec": {"replicas": 6}}, "autoscaler")
    run = stack.preview("--expect-no-changes")
    assert (changed(run), told(run)) == ({}, [])
    # Another change of the object leaves it alone too.
    deployment.patch(GLANCE, {"metadata": {"labels": {"mine": "yes"}}})
    stack.up()
    found = deployment.get(GLANCE)
    assert (found["spec"]["replicas"], found["metadata"]["labels"].get("mine")) == (6, None)

    deployment.write({**glance, **given, "name": "nova"})
    run = stack.preview(succeed=False)
    assert "kubernetes.owned_elsewhere[0]: Jarvis has no Deployment openstack/nova" in run.output


def test_a_run_that_is_cut_off_between_the_two_steps_is_finished_by_the_next(deployment: Deployment) -> None:
    stack = deployment.stack
    stack.up()
    deployment.patch(OPTIONS, {"data": {"MINE": "1"}})
    stack.up("--target", "**Command::glance-configmap-taken-back")
    assert deployment.get(OPTIONS)["data"]["MINE"] == "1"
    run = stack.up()
    assert changed(run)["ConfigMap glance"] == "update"
    assert "MINE" not in deployment.get(OPTIONS)["data"]
    assert changed(stack.preview("--expect-no-changes")) == {}
