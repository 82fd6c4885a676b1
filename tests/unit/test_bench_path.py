"""The critical path that ``make bench`` tells, on a small deployment."""

from __future__ import annotations

from typing import Any

from tests.bench.path import by_component, component, critical_path, gates, steps

STACK = "urn:pulumi:s::p::pulumi:pulumi:Stack::s"
ETCD = "urn:pulumi:s::p::jarvis:etcd:Cluster::etcd"
FIRST = "urn:pulumi:s::p::jarvis:etcd:Cluster$command:remote:Command::one"
SECOND = "urn:pulumi:s::p::jarvis:etcd:Cluster$command:remote:Command::two"
CLUSTER = "urn:pulumi:s::p::jarvis:kubernetes:Cluster::kubernetes"
API = "urn:pulumi:s::p::jarvis:kubernetes:Cluster$command:remote:Command::api"
ASIDE = "urn:pulumi:s::p::command:remote:Command::aside"

RESOURCES: list[dict[str, Any]] = [
    {"urn": STACK},
    {"urn": ETCD, "parent": STACK},
    {"urn": FIRST, "parent": ETCD, "custom": True},
    {"urn": SECOND, "parent": ETCD, "custom": True, "propertyDependencies": {"create": [FIRST]}},
    # The component waits, and so does what is in it; a component stands for all that is in it.
    {"urn": CLUSTER, "parent": STACK, "dependencies": [ETCD]},
    {"urn": API, "parent": CLUSTER, "custom": True},
    {"urn": ASIDE, "parent": STACK, "custom": True},
]


def events(*times: tuple[str, int, int]) -> list[dict[str, Any]]:
    found = [{"timestamp": 100, "preludeEvent": {}}]
    for urn, start, end in times:
        metadata = {"op": "create", "urn": urn}
        found.append({"timestamp": start, "resourcePreEvent": {"metadata": metadata}})
        found.append({"timestamp": end, "resOutputsEvent": {"metadata": metadata}})
    return sorted(found, key=lambda event: event["timestamp"])


def test_what_a_resource_waits_for() -> None:
    found = gates(RESOURCES)
    assert found[SECOND] == {FIRST}
    assert found[API] == {FIRST, SECOND}
    assert found[ASIDE] == set()


def test_a_provider_is_waited_for() -> None:
    provider = "urn:pulumi:s::p::pulumi:providers:kubernetes::k"
    resources = [
        {"urn": provider, "custom": True},
        {"urn": ASIDE, "custom": True, "provider": f"{provider}::0b5d"},
    ]
    assert gates(resources)[ASIDE] == {provider}


def test_the_path_is_the_chain_that_ended_last() -> None:
    made = steps(events((FIRST, 102, 110), (SECOND, 110, 115), (API, 118, 130), (ASIDE, 102, 129)), RESOURCES)
    path = critical_path(made, gates(RESOURCES))
    assert [(leg.step.name, leg.waited, leg.step.start, leg.step.end) for leg in path] == [
        ("one", 2, 2, 10),
        ("two", 0, 10, 15),
        ("api", 3, 18, 30),
    ]
    assert by_component(path) == {"etcd:Cluster etcd": 15, "kubernetes:Cluster kubernetes": 15}


def test_unchanged_resources_and_components_are_no_steps() -> None:
    log = events((FIRST, 101, 103), (ETCD, 101, 104))
    for event in log:
        for kind in ("resourcePreEvent", "resOutputsEvent"):
            if event.get(kind, {}).get("metadata", {}).get("urn") == FIRST:
                event[kind]["metadata"]["op"] = "same"
    assert steps(log, RESOURCES) == {}
    assert critical_path({}, {}) == []


def test_a_resource_without_component_goes_by_its_own_type() -> None:
    known = {one["urn"]: one for one in RESOURCES}
    assert component(ASIDE, known) == "command:remote:Command aside"
    assert component(API, known) == "kubernetes:Cluster kubernetes"
