"""Names, settings, conversions and the rules of replacement, plainly."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from toolchain.plugins.common.engine import Engine
from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Cancellation, Operation
from toolchain.plugins.common.values import UNKNOWN, Secret, has_secret, reveal
from toolchain.plugins.kubernetes import cluster, fields, naming, objects, settings
from toolchain.plugins.kubernetes.client import Client
from toolchain.plugins.kubernetes.immutable import difference, immutable_fields, lies_in
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.provider import KubernetesProvider


def operation(token: str, **fields: Any) -> Operation:
    return Operation(f"urn::{token}::x", token, "x", Engine(), Cancellation(), **fields)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("kubernetes:core/v1:Namespace", Kind("v1", "Namespace")),
        ("kubernetes:apps/v1:Deployment", Kind("apps/v1", "Deployment")),
        ("kubernetes:core/v1:ConfigMapPatch", Kind("v1", "ConfigMap")),
        ("kubernetes:example.com/v1:DiskPatch", Kind("example.com/v1", "DiskPatch")),
    ],
)
def test_kind_of_a_token(token: str, expected: Kind) -> None:
    assert naming.kind_of(token, {}) == expected


@pytest.mark.parametrize("token", ["kubernetes:helm.sh/v3:Release", "kubernetes:yaml/v2:ConfigFile"])
def test_what_is_no_object_is_refused_clearly(token: str) -> None:
    with pytest.raises(ProviderError, match="JARVIS_PLUGINS=official"):
        naming.kind_of(token, {})


def test_patches_are_told_from_kinds_named_so() -> None:
    assert naming.is_patch("kubernetes:core/v1:ConfigMapPatch", Kind("v1", "ConfigMap"))
    assert not naming.is_patch("kubernetes:example.com/v1:DiskPatch", Kind("example.com/v1", "DiskPatch"))


def test_the_field_manager_is_a_chosen_one_the_states_or_new() -> None:
    assert naming.field_manager({}, {}) != naming.field_manager({}, {})
    assert naming.field_manager({}, {"__fieldManager": "kept"}) == "kept"
    chosen = {"metadata": {"annotations": {naming.PATCH_FIELD_MANAGER: "mine"}}}
    assert naming.field_manager(chosen, {"__fieldManager": "kept"}) == "mine"


@pytest.mark.parametrize(
    ("path", "field", "expected"),
    [
        ("spec.selector", "spec.selector", True),
        ("spec.selector.matchLabels.app", "spec.selector", True),
        ("spec.selectors", "spec.selector", False),
        ("spec", "spec.selector", False),
        ('data["a.b"]', "data", True),
        ("spec.containers[12].image", "spec.containers[*].image", True),
        ("spec.containers[0].name", "spec.containers[*].image", False),
        ("spec.containers", "spec.containers[*].image", True),
    ],
)
def test_a_path_lies_in_a_field(path: str, field: str, expected: bool) -> None:
    assert lies_in(path, field) is expected


@pytest.mark.parametrize(
    ("kind", "path", "mutable", "expected"),
    [
        ("apps/v1/StatefulSet", "spec.serviceName", False, True),
        ("apps/v1/DaemonSet", "spec.selector.matchLabels.a", False, True),
        ("apps/v1/DaemonSet", "spec.template", False, False),
        ("v1/Service", "spec.clusterIP", False, True),
        ("v1/PersistentVolumeClaim", "spec.storageClassName", False, True),
        ("v1/PersistentVolumeClaim", "spec.resources.requests.storage", False, False),
        ("rbac.authorization.k8s.io/v1/RoleBinding", "roleRef.name", False, True),
        ("v1/ConfigMap", "data.a", False, True),
        ("v1/ConfigMap", "data.a", True, False),
        ("v1/Secret", "data.a", True, False),
        ("v1/Secret", "type", True, True),
        ("v1/Pod", "spec.containers[0].image", False, True),
        ("v1/ConfigMap", "metadata.namespace", True, True),
        ("example.com/v1/Disk", "spec", False, False),
    ],
)
def test_immutable(kind: str, path: str, mutable: bool, expected: bool) -> None:
    version, _, name = kind.rpartition("/")
    fixed = immutable_fields(Kind(version, name), {}, secret_mutable=mutable, config_map_mutable=mutable)
    assert any(lies_in(path, field) for field in fixed) is expected


def test_immutable_maps_are_replaced_even_by_a_provider_that_changes_data() -> None:
    news = {"immutable": True}
    fixed = immutable_fields(Kind("v1", "ConfigMap"), news, secret_mutable=True, config_map_mutable=True)
    assert "data" in fixed


def test_an_update_takes_over_what_kubectl_and_the_creation_own() -> None:
    def entry(manager: str, operation: str, fields: Any, **more: str) -> dict[str, Any]:
        return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}

    scale = entry("kubectl", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    somebody = entry("somebody", "Update", {"f:data": {"f:z": {}}})
    made = entry("pulumi-kubernetes", "Update", {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {}}})
    edited = entry("kubectl-edit", "Update", {"f:metadata": {"f:labels": {"f:x": {}}}})
    assert cluster.with_taken_over([scale, somebody], "mine") is None
    kept = cluster.with_taken_over([made, scale, edited, somebody], "mine")
    both = {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}}
    assert kept == [scale, somebody, entry("mine", "Apply", both)]
    own = entry("mine", "Apply", {"f:data": {"f:b": {}}})
    kept = cluster.with_taken_over([own, made], "mine")
    assert kept is not None
    assert kept[-1]["fieldsV1"]["f:data"] == {"f:a": {}, "f:b": {}}


def test_an_owner_that_comes_meanwhile_is_not_forgotten() -> None:
    made = {"manager": "pulumi-kubernetes", "operation": "Update", "fieldsV1": {"f:data": {"f:a": {}}}}
    patch = {"manager": "patch", "operation": "Apply", "fieldsV1": {"f:data": {"f:p": {}}}}
    there = {"metadata": {"name": "c", "namespace": "n", "resourceVersion": "1", "managedFields": [made]}}
    sent = []

    def transport(method: str, path: str, body: bytes | None, *_: Any) -> tuple[int, dict[str, str], bytes]:
        if path == "/api/v1":
            kinds = [{"kind": "ConfigMap", "name": "configmaps", "namespaced": True}]
            return 200, {}, json.dumps({"resources": kinds}).encode()
        if method == "GET":
            return 200, {}, json.dumps(now).encode()
        sent.append(json.loads(body or b""))
        stale = sent[-1][1]["value"] != now["metadata"]["resourceVersion"]
        status = {"kind": "Status", "reason": "Conflict", "message": "the object has been modified"}
        return (409, {}, json.dumps(status).encode()) if stale else (200, {}, b"{}")

    now = {"metadata": {**there["metadata"], "resourceVersion": "2", "managedFields": [made, patch]}}
    api = cluster.Cluster(Client(transport, Cancellation()))
    api.take_over(Kind("v1", "ConfigMap"), there, "mine")
    assert [[entry["manager"] for entry in request[0]["value"]] for request in sent] == [
        ["mine"],
        ["patch", "mine"],
    ]


def test_the_form_of_a_kind() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "", "unknown": 1, "ports": []}}
    assert fields.normalized(Kind("v1", "Service"), service)["spec"] == {}
    # The server's to refuse: nothing is mended, nothing is hidden.
    wrong = {"spec": {"replicas": "three", "paused": False}}
    assert fields.normalized(Kind("apps/v1", "Deployment"), wrong) is wrong
    custom = {"spec": {"memory": "1024Mi", "empty": ""}}
    assert fields.normalized(Kind("jarvis.example/v1", "Rack"), custom) is custom


def test_the_forms_are_those_of_the_kubernetes_that_is_deployed() -> None:
    """Else print them anew: the command is at the head of fields.go."""
    tools = tomllib.loads((Path(fields.__file__).parents[2] / "lock.toml").read_text())["tools"]
    major, minor, _ = tools["kubernetes"]["version"].split(".")
    assert json.loads(Path(fields.__file__).with_name("fields.json").read_text())["api"].startswith(
        f"v0.{minor}."
    )
    assert major == "1"


def test_what_is_not_known_yet_keeps_the_rest_as_it_is() -> None:
    inputs = {"spec": {"replicas": UNKNOWN, "paused": False}, "metadata": {"uid": "x", "name": "a"}}
    made = objects.normalized(inputs, Kind("apps/v1", "Deployment"))
    assert made == {**inputs, "metadata": {"name": "a"}}


def test_a_secret_stays_one_in_its_kinds_form() -> None:
    env = [{"name": "EMPTY", "value": ""}, {"name": "P", "value": Secret("x")}]
    spec = {"containers": [{"name": "c", "env": env}]}
    made = objects.normalized({"spec": spec}, Kind("v1", "Pod"))
    assert made["spec"]["containers"][0]["env"] == [{"name": "EMPTY"}, {"name": "P", "value": Secret("x")}]


@pytest.mark.parametrize(
    ("option", "variable", "attribute"),
    [
        ("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS", "upsert"),
        ("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE", "patch_force"),
        ("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE", "skip_update_unreachable"),
        ("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE", "delete_unreachable"),
    ],
)
def test_options_by_input_and_by_environment(
    option: str, variable: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert getattr(settings.settings({}), attribute) is False
    assert getattr(settings.settings({option: "true"}), attribute) is True
    monkeypatch.setenv(variable, "true")
    assert getattr(settings.settings({}), attribute) is True
    assert getattr(settings.settings({option: "false"}), attribute) is False


def test_an_unknown_immutable_field_may_replace() -> None:
    olds = {"metadata": {"name": "a"}, "data": {"k": "1"}}
    news = {"metadata": {"name": "a"}, "data": {"k": UNKNOWN}}
    found = difference(Kind("v1", "ConfigMap"), {**olds, "__inputs": olds}, news, ("data",))
    assert (found.replaces, found.delete_before_replace) == ({"data.k"}, True)


def test_a_secrets_texts_are_secret_whatever_the_program_says() -> None:
    made = objects.normalized(
        {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x", "b": UNKNOWN}, "data": {"c": "eQ=="}},
        Kind("v1", "Secret"),
    )
    assert made["data"] == Secret({"a": "eA==", "b": UNKNOWN, "c": "eQ=="})
    assert "stringData" not in made


def test_outputs_are_secret_where_inputs_are() -> None:
    inputs = {"spec": {"env": [{"name": "P", "value": Secret("hunter2")}]}}
    live = {
        "spec": {"env": [{"name": "P", "value": "hunter2"}], "more": 1},
        "metadata": {"managedFields": []},
    }
    made = objects.state(inputs, live, api_version="v1", manager="m")
    assert made["spec"]["env"][0]["value"] == Secret("hunter2")
    assert made["__inputs"] == inputs
    assert made["metadata"] == {}
    assert "hunter2" not in repr(made)


def test_pruning_keeps_what_was_asked_for_with_live_values() -> None:
    live = {"a": 2, "b": {"c": [{"x": 1, "y": 2}, {"x": 3}], "d": 4}, "e": 5}
    assert objects.prune(live, {"a": 1, "b": {"c": [{"x": 0}]}, "gone": 1}) == {
        "a": 2,
        "b": {"c": [{"x": 1}]},
    }


def kubeconfig(server: str, namespace: str = "") -> str:
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "namespace": namespace}}],
            "current-context": "x",
        }
    )


def test_new_credentials_replace_nothing_and_another_server_or_an_unknown_one_does() -> None:
    made = KubernetesProvider()
    before = {"kubeconfig": Secret(kubeconfig("https://a"))}
    same = made.diff_config(
        operation("p", old_inputs=before, news={"kubeconfig": kubeconfig("https://a", "new")})
    )
    moved = made.diff_config(operation("p", old_inputs=before, news={"kubeconfig": kubeconfig("https://b")}))
    unknown = made.diff_config(operation("p", old_inputs=before, news={"kubeconfig": UNKNOWN}))
    assert (same.replaces, moved.replaces, unknown.replaces) == (
        set(),
        {"kubeconfig"},
        {"kubeconfig"},
    )
    assert set(same.changes) == set(unknown.changes) == {"kubeconfig"}


def test_default_namespace() -> None:
    assert settings.settings({"kubeconfig": kubeconfig("s", "mine")}).default_namespace() == "mine"
    assert settings.settings({"kubeconfig": kubeconfig("s")}).default_namespace() == "default"
    assert settings.settings({"kubeconfig": kubeconfig("s"), "namespace": "n"}).default_namespace() == "n"
    assert settings.settings({"kubeconfig": UNKNOWN}).default_namespace() is None


def test_kubeconfig_by_path(tmp_path: Any) -> None:
    path = tmp_path / "config"
    path.write_text(kubeconfig("https://a"))
    assert settings.settings({"kubeconfig": str(path)}).kubeconfig == kubeconfig("https://a")
    with pytest.raises(ProviderError, match=r"kubeconfig: .*missing: No such file"):
        settings.settings({"kubeconfig": str(tmp_path / "missing")})


def test_a_broken_kubeconfig_is_not_quoted() -> None:
    with pytest.raises(ProviderError) as caught:
        settings.parse_kubeconfig("secret: [unclosed\n")
    assert "unclosed" not in str(caught.value)


def test_with_an_unknown_kubeconfig_a_preview_shows_the_inputs() -> None:
    made = KubernetesProvider()
    made.configure({"kubeconfig": UNKNOWN}, {})
    news = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    asked = operation("kubernetes:core/v1:ConfigMap", news=news, preview=True)
    assert made.check(asked).inputs == news
    assert made.create(asked).outputs == news
    assert made.update(asked) == news


def test_automatic_names() -> None:
    made = KubernetesProvider()
    made.configure({"kubeconfig": UNKNOWN}, {})
    token = "kubernetes:core/v1:ConfigMap"
    news = {"apiVersion": "v1", "kind": "ConfigMap"}

    def name(**fields: Any) -> Any:
        return reveal(made.check(operation(token, news=news, **fields)).inputs)["metadata"].get("name")

    assert name(random_seed=b"1") == name(random_seed=b"1") != name(random_seed=b"2")
    assert name(autonaming=("propose", "chosen")) == "chosen"
    old = {"metadata": {"name": "x-old", "annotations": {naming.AUTONAMED: "true"}}}
    assert name(random_seed=b"1", olds=old) == "x-old"
    refused = made.check(operation(token, news=news, autonaming=("disable", "")))
    assert [failure.property for failure in refused.failures] == ["metadata.name"]
    unnamed = made.check(operation(token + "Patch", news=news))
    assert [failure.property for failure in unnamed.failures] == ["metadata.name"]


def test_what_the_adapter_cannot_do_is_said_at_once() -> None:
    asked = operation("p", news={"enableServerSideApply": "false", "renderYamlToDirectory": "x"})
    failures = KubernetesProvider().check_config(asked).failures
    assert {failure.property for failure in failures} == {"enableServerSideApply", "renderYamlToDirectory"}


def test_secret_of_a_provider_is_no_part_of_a_resource() -> None:
    assert not has_secret(naming.annotations_of({"metadata": {"annotations": {"a": Secret("x"), "b": "y"}}}))
