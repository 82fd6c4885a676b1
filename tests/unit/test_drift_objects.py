"""What the API says of objects becomes a change of the object concerned, once, and of nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi
import pytest

from jarvis.config import ConfigurationError, Environment, Server
from jarvis.config.safety import Safety
from jarvis.core import objects
from jarvis.core.identity import KINDS, Identity, read_identity
from jarvis.core.safety import begin
from jarvis.core.without import without
from jarvis.drift import Drift, Objects, ObjectsBefore, SilentError, Watch, read_objects
from jarvis.drift.ask import Looked
from jarvis.drift.lists import Asked, ask, paths, read_lists
from jarvis.drift.objects import Former, found_lines, to_record
from jarvis.drift.owners import Live, Ours
from stacks.cloud import build
from tests.golden.openapi import Api
from tests.golden.test_golden import artifacts, environment_of
from tests.unit.harness import Graph, record
from tests.unit.test_drift import Servers, servers, went
from tests.unit.test_drift_owners import NOW, OURS, THEN, before, entry, live
from tests.unit.test_hosts_clock import environment

__all__ = ["servers"]

OPTIONS = Identity(kind="ConfigMap", namespace="openstack", name="glance")
GLANCE = Identity(kind="Deployment", namespace="openstack", name="glance")
BINDING = Identity(kind="ClusterRoleBinding", name="jarvis:operators")
RING = Identity(kind="Secret", namespace="openstack", name="keystone-fernet-keys")
WELL = live(entry(OURS, "f:data", time=THEN))
ADDED = live(entry(OURS, "f:data", time=THEN), entry("x", "f:data/f:DEBUG"))
SENTENCE = "data.DEBUG: added by x 2026-11-23 13:10 UTC"


def answer(*lists: Sequence[Mapping[str, Any]]) -> str:
    """Of the API, for so many lists of objects' metadata."""
    return "\n".join(
        json.dumps({"kind": "PartialObjectMetadataList", "items": [{"metadata": one} for one in items]})
        for items in lists
    )


def test_an_object_is_named_and_read() -> None:
    for one in (OPTIONS, BINDING):
        assert read_identity(str(one)) == one
    assert (str(OPTIONS), str(BINDING)) == (
        "ConfigMap openstack/glance",
        "ClusterRoleBinding jarvis:operators",
    )
    with pytest.raises(ValueError, match="names no object"):
        read_identity("glance")


def test_the_api_has_each_kind_where_it_is_looked_for() -> None:
    assert {
        f"{kind.api.removeprefix('core/')} {kind.name}" for kind in KINDS.values()
    } == Api.pinned().kinds.keys()
    assert OPTIONS.path == "/api/v1/namespaces/openstack/configmaps/glance"
    assert GLANCE.path == "/apis/apps/v1/namespaces/openstack/deployments/glance"
    assert BINDING.path == "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/jarvis:operators"


def test_only_lists_that_have_objects_of_the_stack_are_asked_for() -> None:
    assert paths([OPTIONS, RING, BINDING, OPTIONS]) == [
        "/api/v1/namespaces/openstack/configmaps",
        "/api/v1/namespaces/openstack/secrets",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ]
    # Where no record tells which those are: all.
    assert len(paths([])) == len(KINDS)


LISTS = ["/api/v1/namespaces/openstack/configmaps", "/apis/apps/v1/deployments"]


def test_lists_are_read_in_their_order() -> None:
    metadata = {"name": "glance", "namespace": "openstack", "managedFields": [entry("x", "f:data/f:A")]}
    assert read_lists(answer([metadata], [metadata]).encode(), LISTS) == {
        OPTIONS: live(entry("x", "f:data/f:A")),
        GLANCE: live(entry("x", "f:data/f:A")),
    }


@pytest.mark.parametrize(
    "text", ["", "no JSON", answer([]), answer([], [], []), '{"kind": "Status"} {"kind": "Status"}', "[] []"]
)
def test_another_answer_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"no list|Expecting value|more than the lists"):
        read_lists(text.encode(), LISTS)


def test_the_api_is_asked_on_the_next_server_where_one_is_silent(servers: Servers) -> None:
    folder = servers("refuse", "no JSON", answer([], []))
    env = environment(3)
    asked = asyncio.run(ask(env, env.servers, LISTS))
    assert asked == Asked()
    assert asked.why == ""
    line = (folder / "calls").read_text().splitlines()[-1]
    assert line.endswith(f"exec env JARVIS_PATIENCE_FACTOR=1 bash -s -- {' '.join(LISTS)}")
    assert "PartialObjectMetadataList" in (folder / "s3.input").read_text()

    asked = asyncio.run(ask(env, env.servers[:2], LISTS))
    assert asked.silent == {
        "s1": "ssh: connect to host s1 port 22: Connection refused",
        "s2": "it said something else than lists of objects",
    }


def former(*fields: str, **more: Any) -> Former:
    return Former(ours=before(*fields), **more)


def test_what_a_run_leaves_is_what_the_next_one_reads() -> None:
    left = {
        OPTIONS: former("f:data", count=2, sentences=("a", "b"), take=before("f:data/f:A").paths),
        RING: Former(ignored=(("f:data",),)),
        BINDING: former("f:subjects"),
    }
    # As the engine gives it back.
    again = json.loads(json.dumps(to_record(left)), parse_int=float)
    assert read_objects(again) == ObjectsBefore(objects=left)
    assert read_objects({}) == ObjectsBefore()


def watcher(
    env: Environment,
    found: Mapping[Identity, Live] | None,
    left: Mapping[Identity, Former] = {},
    watch: Watch = Watch.TRUE,
) -> Objects:
    """Of a run on an API that says ``found``, or is silent."""

    async def said(_: Environment, asked: Sequence[Server], __: Sequence[str]) -> Asked:
        return Asked(silent={asked[0].name: "refused"}) if found is None else Asked(live=found)

    return Objects(env, watch, ObjectsBefore(objects=left), said)


def run(
    use: Callable[[Objects], Any],
    env: Environment,
    found: Mapping[Identity, Live] | None,
    left: Mapping[Identity, Former] = {},
    watch: Watch = Watch.TRUE,
    *,
    stopped: str = "",
) -> Any:
    """What ``use`` returns in a run on an API that says ``found``, and servers whose role ``stopped`` is."""

    async def look(_: Environment, asked: Sequence[Server]) -> Looked:
        roles = {stopped: [f"{stopped}.service: stopped"]} if stopped else {"base": []}
        return Looked(found={one.name: roles for one in asked})

    async def program() -> Any:
        made = watcher(env, found, left, watch)
        drift = Drift(env, watch, {}, look, objects=made)
        try:
            await drift.known()
            return use(made)
        finally:
            await drift.end()

    return asyncio.run(program())


def seen(one: Identity, *, protected: bool = False) -> Callable[[Objects], Any]:
    return lambda made: made.see(one, ignored=[], protected=protected)


def test_a_silent_api_ends_the_run_unless_that_is_explained_or_passed_over(warnings: list[str]) -> None:
    env = went(environment(1))
    left = {OPTIONS: former("f:data", count=1, sentences=("a",))}
    with pytest.raises(SilentError, match=r"^Kubernetes could not be asked .*\n  s1: refused\n"):
        run(seen(OPTIONS), env, None)
    assert warnings == []
    # What was known stays.
    kept = objects.Mark(text="1: a")
    assert run(seen(OPTIONS), env, None, left, Watch.LENIENT) == kept
    assert warnings == ["Kubernetes: what Jarvis made there was not looked at: s1: refused"]
    assert run(seen(OPTIONS), env, None, left, Watch.FALSE) == kept
    # Nothing is deployed yet.
    assert run(seen(OPTIONS), environment(1), None) is None
    assert len(warnings) == 1


@pytest.mark.parametrize(("role", "ends"), [("kube-apiserver", False), ("etcd", False), ("kubelet", True)])
def test_an_api_server_that_somebody_stopped_is_started_by_the_run(
    warnings: list[str], role: str, ends: bool
) -> None:
    env = went(environment(1))
    left = {OPTIONS: former("f:data", count=1, sentences=("a",))}
    finding = f"s1: {role}: {role}.service: stopped"
    if ends:
        with pytest.raises(SilentError):
            run(seen(OPTIONS), env, None, left, stopped=role)
        assert warnings == [finding]
    else:
        assert run(seen(OPTIONS), env, None, left, stopped=role) == objects.Mark(text="1: a")
        assert warnings == ["Kubernetes: what Jarvis made there was not looked at: s1: refused", finding]


def test_each_finding_is_told_and_counted(warnings: list[str]) -> None:
    env = went(environment(1))
    take = '{"f:data":{"f:DEBUG":{}}}'
    found, left = {OPTIONS: ADDED}, {OPTIONS: former("f:data")}
    mark = run(seen(OPTIONS), env, found, left)
    assert mark == objects.Mark(text=f"1: {SENTENCE}", take=take)
    assert warnings == [f"Kubernetes: {OPTIONS}: {SENTENCE}"]
    left = {OPTIONS: former("f:data", count=1, sentences=("a",))}
    assert run(seen(OPTIONS), env, found, left).text == f"2: {SENTENCE}"
    # What took fields once stays declared, with a finding that has none to take.
    lost = {OPTIONS: former("f:data", "f:kind", count=1, sentences=("a",), take=before("f:data/f:A").paths)}
    mark = run(seen(OPTIONS), env, {OPTIONS: WELL}, lost)
    assert mark == objects.Mark(text="2: kind: removed", take='{"f:data":{"f:A":{}}}')


def test_what_is_deleted_is_made_anew_unless_it_is_protected(warnings: list[str]) -> None:
    env = went(environment(1))
    left = {RING: former("f:type")}
    assert run(seen(RING), env, {}, left) == objects.Mark(text="1: deleted", anew=True)
    assert run(seen(RING, protected=True), env, {}, left) is None
    assert "is protected, and `up` cannot make it anew" in warnings[-1]


def left_by(env: Environment, now: Mapping[Identity, Live], before: Mapping[Identity, Former]) -> Any:
    """The record of an ``up`` in which nothing was found, and after which the API says ``now``."""

    async def program() -> Any:
        made = watcher(env, now, before, Watch.LENIENT)
        made.see(OPTIONS, ignored=[], protected=False)
        return await made.left()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
        return read_objects(asyncio.run(program())).objects[OPTIONS].ours


def test_an_up_leaves_what_is_ours_after_it() -> None:
    env = went(environment(1))
    now = {OPTIONS: live(entry(OURS, "f:data", "f:new"))}
    assert left_by(env, now, {}) == Ours(time=NOW, paths=before("f:data", "f:new").paths)
    assert left_by(env, now, {OPTIONS: former("f:data")}) == Ours(
        time=NOW, paths=before("f:data", "f:new").paths
    )
    # It has not written the object: what was taken from us meanwhile is told by the next run.
    assert left_by(env, {OPTIONS: WELL}, {OPTIONS: former("f:data", "f:lost")}) == before("f:data", "f:lost")
    assert left_by(env, {}, {OPTIONS: former("f:data")}) == before("f:data")


def test_lines_for_a_script_are_of_what_the_last_up_declared() -> None:
    left = ObjectsBefore(objects={OPTIONS: former("f:data"), BINDING: former("f:subjects")})
    assert found_lines(left, {OPTIONS: ADDED, GLANCE: ADDED}) == {
        str(OPTIONS): [SENTENCE],
        str(BINDING): ["deleted"],
    }


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return went(environment_of("dev", tmp_path_factory.mktemp("project")))


def graph_of(
    env: Environment,
    found: Mapping[Identity, Live],
    left: Mapping[Identity, Former] = {},
) -> Graph:
    async def look(_: Environment, asked: Sequence[Server]) -> Looked:
        return Looked(found={one.name: {"base": []} for one in asked})

    async def program() -> Any:
        drift = Drift(env, Watch.TRUE, {}, look, objects=watcher(env, found, left))
        made = await build(env, artifacts(), drift)
        assert drift.objects is not None
        drift.objects.check()
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        try:
            return record(program, "dev")
        finally:
            # Other tests declare what they protect themselves, and nobody knows of their objects.
            begin(Safety(protect=False))
            objects.begin(None)


@pytest.fixture(scope="module")
def untouched(env: Environment) -> Graph:
    return graph_of(env, {})


def changed(before: Graph, after: Graph) -> dict[str, str]:
    """The resources whose inputs differ, with the annotation of an object."""
    found = {}
    for label, one in after.resources.items():
        was = before.resources.get(label)
        if was is None:
            found[label] = "new"
        elif was.inputs != one.inputs:
            notes = dict(one.inputs["metadata"]["annotations"])
            found[label] = notes.pop(objects.SEEN)
            metadata = {key: value for key, value in one.inputs["metadata"].items() if key != "annotations"}
            metadata |= {"annotations": notes} if notes else {}
            assert {**one.inputs, "metadata": metadata} == was.inputs, label
    assert before.resources.keys() <= after.resources.keys()
    return found


MAP = "kubernetes:core/v1:ConfigMap glance"
OPERATORS = "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding kubernetes-access-operators"
TAKEN = "command:local:Command glance-configmap-taken-back"


def test_where_nothing_is_found_nothing_changes(env: Environment, untouched: Graph) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        without_watch = record(lambda: build(env, artifacts()), "dev")
        begin(Safety(protect=False))
    assert changed(without_watch, untouched) == {}
    left = {OPTIONS: former("f:data")}
    assert changed(untouched, graph_of(env, {OPTIONS: WELL}, left)) == {}


def test_a_finding_changes_its_object_after_what_takes_the_field_back(
    env: Environment, untouched: Graph, warnings: list[str]
) -> None:
    left = {OPTIONS: former("f:data"), GLANCE: former("f:spec"), BINDING: former("f:subjects")}
    found = {OPTIONS: ADDED, GLANCE: live(entry(OURS, "f:x", time=THEN), entry("y", "f:spec"))}
    graph = graph_of(env, found, left)
    assert changed(untouched, graph) == {
        MAP: f"1: {SENTENCE}",
        "kubernetes:apps/v1:Deployment glance": "1: spec: changed by y 2026-11-23 13:10 UTC; x: added, and"
        " left there by an up that was cut off",
        OPERATORS: "1: deleted",
        TAKEN: "new",
    }
    assert TAKEN in graph.resources[MAP].depends
    taken = graph.resources[TAKEN]
    assert "stdin" in taken.secrets
    request = json.loads(taken.inputs["stdin"])
    assert (request["path"], request["fields"]) == (OPTIONS.path, {"f:data": {"f:DEBUG": {}}})
    assert taken.inputs["create"] == "exec python3 jarvis/kubernetes/take_back.py"
    # It begins when no API server changes any more.
    assert "pulumi:providers:kubernetes kubernetes" in taken.depends


def test_what_was_mended_is_no_change_and_what_comes_again_is(env: Environment, untouched: Graph) -> None:
    first = graph_of(env, {OPTIONS: ADDED}, {OPTIONS: former("f:data")})
    kept = {OPTIONS: former("f:data", count=1, sentences=(SENTENCE,), take=before("f:data/f:DEBUG").paths)}
    assert changed(first, graph_of(env, {OPTIONS: WELL}, kept)) == {}
    again = graph_of(env, {OPTIONS: ADDED}, kept)
    assert again.resources[MAP].inputs["metadata"]["annotations"][objects.SEEN] == f"2: {SENTENCE}"


ELSEWHERE = {"kind": "Deployment", "namespace": "openstack", "name": "glance", "manager": "hpa"}


def owned_elsewhere(env: Environment, **fields: str) -> Environment:
    given = environment(1, kubernetes={"owned_elsewhere": [{**ELSEWHERE, **fields}]}).kubernetes
    return env.model_copy(update={"kubernetes": given})


def test_a_field_that_another_manager_owns_is_not_sent(env: Environment, untouched: Graph) -> None:
    label = "kubernetes:apps/v1:Deployment glance"
    inputs = graph_of(owned_elsewhere(env, field="spec.replicas"), {}).resources[label].inputs
    was = dict(untouched.resources[label].inputs)
    assert was["spec"]["replicas"]
    assert inputs == {**was, "spec": {k: v for k, v in was["spec"].items() if k != "replicas"}}
    field = "spec.template.spec.containers[name=glance].resources"
    inputs = graph_of(owned_elsewhere(env, field=field), {}).resources[label].inputs
    [container] = inputs["spec"]["template"]["spec"]["containers"]
    [former_one] = was["spec"]["template"]["spec"]["containers"]
    assert container == {key: value for key, value in former_one.items() if key != "resources"}


def test_a_field_of_an_object_that_is_not_is_a_mistake(env: Environment) -> None:
    with pytest.raises(
        ConfigurationError, match=r"owned_elsewhere\[0\]: Jarvis has no Deployment openstack/nova"
    ):
        graph_of(owned_elsewhere(env, field="spec.replicas", name="nova"), {})


def test_fields_are_left_out_of_lists_and_maps() -> None:
    value = {"a": [{"name": "x", "b": 1}, {"name": "y", "b": 2}], "c": {"d.e": 1, "f": 2}}
    assert without(value, ("f:a", 'k:{"name":"x"}', "f:b"))["a"][0] == {"name": "x"}
    assert without(value, ("f:a", 'k:{"name":"x"}'))["a"] == [{"name": "y", "b": 2}]
    assert without(value, ("f:c", "f:d.e"))["c"] == {"f": 2}
    assert without(value, ("f:nothing", "f:x")) == value


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"field": "spec..replicas"}, r"owned_elsewhere\[0\].field: .*is no path of a field"),
        ({"field": "spec"}, "is or has in it what the object is known by"),
        ({"field": "metadata.name"}, "is or has in it what the object is known by"),
        ({"field": "spec.selector.matchLabels"}, "is or has in it what the object is known by"),
        ({"field": "spec.replicas", "kind": "Namespace"}, "a Namespace is in no namespace"),
        ({"field": "spec.replicas", "namespace": ""}, "namespace"),
        ({"field": "data", "kind": "Secret"}, "kind"),
        ({"field": "spec.replicas", "manager": ""}, "manager"),
    ],
)
def test_what_cannot_be_given_away_is_a_mistake(fields: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        environment(1, kubernetes={"owned_elsewhere": [{**ELSEWHERE, **fields}]})
