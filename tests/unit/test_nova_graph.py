"""Nova in a whole stack: what comes before what, which process knows which cell, and what rolls what."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import Environment
from jarvis.config.rotations import secret_names
from jarvis.openstack.model import Database, Queue
from jarvis.openstack.services.nova import NOVA
from jarvis.openstack.urls import route, routes
from tests.golden.test_golden import environment_of
from tests.unit.harness import Graph, differing
from tests.unit.runs import graph_of
from tests.unit.test_catalogue import _secret, _urls

DEPLOYMENT, JOB, CRON_JOB = (
    f"kubernetes:{kind}" for kind in ("apps/v1:Deployment", "batch/v1:Job", "batch/v1:CronJob")
)
CONFIG_MAP, SECRET = (f"kubernetes:core/v1:{kind}" for kind in ("ConfigMap", "Secret"))
COMMAND = "command:remote:Command"
STEPS = ("nova-expand", "nova-cells-expand", "nova-cell0-expand", "nova-cell1-expand")
FILLS = ("nova-cell0-fill", "nova-cell1-fill")
ALL = ("nova", "nova-metadata", "nova-super-conductor", "nova-conductor", "nova-scheduler")
COUNTER = "metadata-proxy-secret"


def _environment(folder: Path, rotations: dict[str, int] | None = None, **nova: Any) -> Environment:
    env = environment_of("production", folder)
    values = env.model_dump(exclude_unset=True, exclude={"openstack", "rotations"})
    openstack = env.openstack.model_dump(exclude_unset=True)
    openstack |= {"services": ["keystone", "glance", "placement", "nova"], "nova": nova}
    return Environment.model_validate({**values, "openstack": openstack, "rotations": rotations or {}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nova")


@pytest.fixture(scope="module")
def graph(folder: Path) -> Graph:
    return graph_of(_environment(folder))


def _container(graph: Graph, label: str) -> dict[str, Any]:
    spec = graph.resources[label].inputs["spec"]
    spec = spec.get("jobTemplate", {"spec": spec})["spec"]
    [container] = spec["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_schemas_are_migrated_one_after_the_other_before_any_pod(graph: Graph) -> None:
    for earlier, later in itertools.pairwise(STEPS):
        assert f"{JOB} {earlier}" in graph.before(f"{JOB} {later}")
    for name in ALL:
        assert f"{JOB} {STEPS[-1]}" in graph.before(f"{DEPLOYMENT} {name}")


def test_pods_start_after_the_rights_of_their_accounts(graph: Graph) -> None:
    for name in ALL:
        own = "cell1" if name == "nova-conductor" else "cell0"
        rights = {f"{COMMAND} nova-{each}-grant" for each in ("api", own)}
        assert rights <= graph.before(f"{DEPLOYMENT} {name}")


def test_data_is_moved_after_all_pods(graph: Graph) -> None:
    assert f"{JOB} {FILLS[0]}" in graph.before(f"{JOB} {FILLS[1]}")
    for name in ALL:
        assert f"{DEPLOYMENT} {name}" in graph.before(f"{JOB} {FILLS[0]}")


def test_a_process_knows_the_cell_that_it_is_of(graph: Graph) -> None:
    above = {"mysql": {"nova_api", "nova_cell0"}, "rabbit": {"nova"}}
    within = {"mysql": {"nova_api", "nova_cell1"}, "rabbit": {"nova-cell1"}}
    assert {name: _urls(graph, name) for name in ALL} == {
        name: within if name == "nova-conductor" else above for name in ALL
    }


def test_accounts_above_reach_the_cell_and_its_own_reaches_nothing_else(graph: Graph) -> None:
    """Templates are filled in with the account of who reads them."""
    grants = {label.split()[1] for label in graph.resources if "nova" in label and label.endswith("-grant")}
    own = {f"nova-{name}-grant" for name in ("api", "cell0", "cell1")}
    assert grants == {*own, "nova-cell0-nova-cell1-grant"}
    across = graph.before(f"{COMMAND} nova-cell0-nova-cell1-grant")
    assert {f"{COMMAND} nova-cell0-database", f"{COMMAND} nova-cell1-schema"} <= across
    assert f"{COMMAND} nova-cell0-nova-cell1-grant" in graph.before(f"{JOB} {STEPS[0]}")
    permissions = {
        (one["user"], one["vhost"])
        for name in ("nova", "nova-cell1")
        for one in _definitions(graph, name)["permissions"]
    }
    assert permissions == {("nova-a", "nova"), ("nova-a", "nova-cell1"), ("nova-cell1-a", "nova-cell1")}
    assert f"{COMMAND} nova-cell1-queue" in graph.before(f"{COMMAND} nova-queue")


def _definitions(graph: Graph, name: str) -> dict[str, Any]:
    bundle = graph.resources[f"{COMMAND} {name}-queue"].inputs["stdin"]
    text = "".join(line[1:] for line in bundle.splitlines() if line.startswith("|"))
    found: dict[str, Any] = json.loads(text)
    return found


def test_notifications_that_nobody_reads_do_not_pile_up(graph: Graph) -> None:
    for name in ("nova", "nova-cell1"):
        [policy] = _definitions(graph, name)["policies"]
        assert policy["vhost"] == name
        assert policy["definition"]["overflow"] == "drop-head"
    assert "policies" not in _definitions(graph, "glance")


def test_what_nova_knows_of_its_cells_has_no_password(graph: Graph) -> None:
    command = _container(graph, f"{JOB} nova-cells-expand")["command"]
    assert command[-4:] == ["map", "nova_cell0", "nova_cell1", "nova-cell1"]


def test_an_option_of_the_scheduler_rolls_nothing_else(graph: Graph, folder: Path) -> None:
    env = _environment(folder, scheduler={"options": {"scheduler.max_attempts": 5}})
    assert differing(graph, graph_of(env)) == {f"{kind} nova-scheduler" for kind in (CONFIG_MAP, DEPLOYMENT)}


def test_metadata_alone_knows_the_secret_that_it_shares_and_has_no_name_outside(
    graph: Graph, folder: Path
) -> None:
    option = "OS_NEUTRON__METADATA_PROXY_SHARED_SECRET"
    assert [name for name in ALL if option in _secret(graph, name)] == ["nova-metadata"]
    assert _secret(graph, "nova-metadata")[option]
    env = _environment(folder, rotations={COUNTER: 1})
    assert COUNTER in secret_names(env)
    changed = {label for label in differing(graph, graph_of(env)) if label.startswith("kubernetes:")}
    assert changed == {f"{SECRET} nova-metadata", f"{DEPLOYMENT} nova-metadata"}
    assert [route.name for route in routes(env)] == ["keystone", "glance", "placement", "nova"]


def test_a_further_process_that_serves_http_is_scaled_by_its_own_settings(graph: Graph, folder: Path) -> None:
    env = _environment(folder, metadata={"processes": 6})
    changed = graph_of(env)
    assert differing(graph, changed) == {f"{DEPLOYMENT} nova-metadata"}
    [metadata] = [web for name, web in NOVA.webs() if name == "metadata"]
    assert [route(env, NOVA, name, metadata).requests for name in ("api", "metadata")] == [3, 5]


def test_a_process_is_known_by_its_server(graph: Graph) -> None:
    for name in ALL:
        names = [each["name"] for each in _container(graph, f"{DEPLOYMENT} {name}")["env"]]
        assert names == ["SERVER_NAME", "OS_DEFAULT__HOST"], "the first is there when the second is read"
        data = graph.resources[f"{CONFIG_MAP} {name}"].inputs["data"]
        assert "OS_DEFAULT__HOST" not in data


def test_hosts_are_discovered_by_the_scheduler(graph: Graph) -> None:
    variable = "OS_SCHEDULER__DISCOVER_HOSTS_IN_CELLS_INTERVAL"
    told = {name: graph.resources[f"{CONFIG_MAP} {name}"].inputs["data"].get(variable) for name in ALL}
    assert told == {**dict.fromkeys(ALL), "nova-scheduler": "30"}


def test_workers_are_probed_three_times_before_nova_takes_them_for_lost(graph: Graph) -> None:
    for name in ALL[2:]:
        data = graph.resources[f"{CONFIG_MAP} {name}"].inputs["data"]
        probe = _container(graph, f"{DEPLOYMENT} {name}")["livenessProbe"]
        assert probe["periodSeconds"] * 3 == int(data["OS_DEFAULT__SERVICE_DOWN_TIME"])


def test_what_was_deleted_is_tidied_up_each_night_by_the_settings(graph: Graph, folder: Path) -> None:
    label = f"{CRON_JOB} nova-tidy"
    spec = graph.resources[label].inputs["spec"]
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
    container = _container(graph, label)
    assert container["command"][-3:] == ["tidy", "30", "90"]
    assert {"configMapRef": {"name": "nova"}} in container["envFrom"]
    assert f"{JOB} {STEPS[-1]}" in graph.before(label)
    changed = graph_of(_environment(folder, archive_days=7))
    assert differing(graph, changed) == {label}
    assert _container(changed, label)["command"][-3:] == ["tidy", "7", "90"]


def test_turning_it_on_changes_nothing_that_is_there(graph: Graph, folder: Path) -> None:
    env = _environment(folder)
    before = env.openstack.model_copy(update={"services": ["keystone", "glance", "placement"]})
    without = graph_of(env.model_copy(update={"openstack": before}))
    changed = differing(without, graph)
    assert [label for label in changed if label in without.resources] == []
    assert [label for label in without.resources if label not in graph.resources] == []


def test_a_process_has_one_url_for_an_option() -> None:
    api = replace(NOVA.processes["api"], databases=["nova_cell0", "nova_cell1"])
    with pytest.raises(ValueError, match=r"process api has several URLs for database\.connection"):
        replace(NOVA, processes={"api": api})


@pytest.mark.parametrize(
    "what", [{"databases": [Database(name="a", reaches=["b"])]}, {"queues": [Queue(name="a", reaches=["a"])]}]
)
def test_an_account_reaches_what_the_service_has(what: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nova: a reaches [ab], no other one of it"):
        replace(NOVA, **what)


def test_no_secret_is_in_a_config_map(graph: Graph) -> None:
    secrets = {
        text
        for name in ALL
        for key, text in _secret(graph, name).items()
        if key.endswith(("PASSWORD", "CONNECTION", "SECRET", "URL"))
    }
    for name in ALL:
        data = graph.resources[f"{CONFIG_MAP} {name}"].inputs["data"]
        assert secrets.isdisjoint(data.values())
