"""Services that are turned on and off: what an environment may say, and what changes."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jarvis.config import Environment, ServerRole
from jarvis.config.before import read_before, to_record
from jarvis.config.errors import ConfigurationError
from jarvis.openstack.build import dropped
from jarvis.openstack.build.tasks import register, unregister
from jarvis.openstack.catalogue import enabled, retired
from jarvis.openstack.data import check_data, data_of
from jarvis.openstack.services.glance import GLANCE
from jarvis.openstack.services.placement import PLACEMENT
from tests.golden.test_golden import environment_of
from tests.unit.fake_keystone import FakeKeystone
from tests.unit.harness import Graph
from tests.unit.runs import after, graph_of


def _with(env: Environment, **openstack: Any) -> Environment:
    values = env.model_dump(exclude_unset=True, exclude={"openstack"})
    given = env.openstack.model_dump(exclude_unset=True) | openstack
    return Environment.model_validate({**values, "openstack": given})


def _only_keystone(env: Environment) -> Environment:
    openstack = env.openstack.model_dump(exclude_unset=True, exclude={"glance"})
    values = env.model_dump(exclude_unset=True, exclude={"openstack"})
    return Environment.model_validate({**values, "openstack": {**openstack, "services": ["keystone"]}})


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return environment_of("production", tmp_path)


def _mistakes(env: Environment, **openstack: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        _with(env, **openstack)
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in caught.value.errors()]


@pytest.mark.parametrize(
    ("services", "told"),
    [
        (["glance"], "keystone is not there"),
        ([], "keystone is not there"),
        (["keystone", "glance", "glance"], "glance is there more than once"),
        (["keystone", "nowa"], "'keystone'"),
    ],
)
def test_a_wrong_list_of_services_is_one_error(env: Environment, services: list[str], told: str) -> None:
    [found] = _mistakes(env, services=services)
    assert found.startswith("openstack.services")
    assert told in found


def test_settings_of_a_service_that_is_not_there_are_an_error(env: Environment) -> None:
    [found] = _mistakes(env, services=["keystone"], glance={"replicas": 3})
    assert found.startswith("openstack.glance")
    assert "glance is not among openstack.services" in found


def test_an_environment_that_names_none_has_those_of_before(env: Environment) -> None:
    assert [one.name for one in enabled(env)] == ["keystone", "glance"]
    assert retired(env) == []


def _of_glance(graph: Graph) -> set[str]:
    return {label for label in graph.resources if "glance" in label or "images-pool" in label}


def _changed(one: Graph, other: Graph) -> set[str]:
    return {
        label
        for label in one.resources.keys() & other.resources.keys()
        if one.resources[label].inputs != other.resources[label].inputs
    }


def test_a_service_that_is_turned_off_takes_all_but_its_data_and_leaves_others_alone(
    env: Environment,
) -> None:
    off = after(_only_keystone(env), env)
    assert [one.name for one in retired(off)] == ["glance"]
    was, now = graph_of(env), graph_of(off)
    assert {label for label in _of_glance(now) if not label.startswith("jarvis:")} == {
        "kubernetes:core/v1:ConfigMap glance-unregister",
        "kubernetes:batch/v1:Job glance-unregister",
    }
    # Resources that keep their data where they are deleted: a person drops it.
    assert "command:remote:Command glance-schema" in was.resources
    kept = [label for label in was.resources if was.resources[label].protected]
    assert [label for label in kept if label not in now.resources] == []
    assert _changed(was, now) == set()


def test_turned_on_again_it_is_made_and_nothing_of_others_changes(env: Environment) -> None:
    off = after(_only_keystone(env), env)
    on = after(env, off)
    was, now = graph_of(off), graph_of(on)
    assert retired(on) == []
    gone = was.resources.keys() - now.resources.keys()
    assert {label.rpartition(" ")[2] for label in gone} == {"glance-unregister"}
    assert _changed(was, now) == set()
    assert now.resources.keys() == graph_of(env).resources.keys()


def test_that_its_data_is_there_is_remembered_from_run_to_run(env: Environment) -> None:
    off = after(_only_keystone(env), env)
    assert [one.name for one in retired(after(_only_keystone(env), off))] == ["glance"]
    record = to_record(off)
    assert record["services"] == ["keystone", "glance"]
    del record["services"]
    entries = [{"name": "keystone"}, {"name": "glance"}]
    assert read_before({**record, "registered": {"entries": entries}}).services == ("keystone", "glance")


def _dropping(env: Environment, *services: str) -> Environment:
    safety = env.safety.model_copy(update={"may_remove": [f"{name}-data" for name in services]})
    return env.model_copy(update={"safety": safety})


def test_data_of_a_service_that_is_off_goes_where_it_is_named(env: Environment) -> None:
    off = after(_only_keystone(env), env)
    again = after(_only_keystone(env), off)
    check_data(again)
    without = graph_of(again)
    named = _dropping(again, "glance")
    check_data(named)
    graph = graph_of(named)
    assert _changed(without, graph) == set()
    new = graph.resources.keys() - without.resources.keys()
    commands = {label.rpartition(" ")[2]: label for label in new if label.startswith("command:")}
    assert set(commands) == {f"glance-data-{kind}" for kind in ("databases", "vhosts", "pools")}
    first = {role: env.with_role(ServerRole(role))[0] for role in ("database", "queue", "storage")}
    for name, words, role in (
        ("databases", "glance", "database"),
        ("vhosts", "glance", "queue"),
        ("pools", "images", "storage"),
    ):
        inputs = graph.resources[commands[f"glance-data-{name}"]].inputs
        assert inputs["create"] == f"bash -s -- {words}"
        assert inputs["connection"]["host"] == str(first[role].address)
        assert "delete" not in inputs


@pytest.mark.parametrize("on", [True, False])
def test_data_that_is_in_use_is_refused(env: Environment, on: bool) -> None:
    """A service that is turned off by this very run has pods until its end."""
    now = after(env if on else _only_keystone(env), env)
    with pytest.raises(ConfigurationError, match="glance-data is in use: Glance is not off yet"):
        check_data(_dropping(now, "glance"))


def test_a_pool_that_another_service_uses_stays(env: Environment) -> None:
    off = after(_only_keystone(env), env)
    assert data_of(off, GLANCE).told == "database glance, vhost glance, pool images"
    other = replace(PLACEMENT, name="other", ceph=GLANCE.ceph)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jarvis.openstack.data.enabled", lambda _: [other])
        assert data_of(off, GLANCE).pools == []


def test_a_record_that_does_not_say_what_is_off_tells_it_by_what_is_registered(env: Environment) -> None:
    record = to_record(after(_only_keystone(env), env))
    assert record.pop("off") == ["glance"]
    assert read_before({**record, "registered": {"entries": [{"name": "keystone"}]}}).off == ("glance",)
    assert read_before(record).off == ()


TOOLS = {
    "mariadb": 'echo "mariadb $*" >>calls',
    "rabbitmqctl": 'echo "rabbitmqctl $*" >>calls; [ "$2" = delete_vhost ] || printf "/\\nglance\\n"',
    "ceph": 'echo "ceph $*" >>calls; case $* in *"pool ls") printf "images\\nvms\\n" ;; esac',
}


@pytest.mark.parametrize(
    ("script", "names", "calls"),
    [
        (
            dropped._DATABASES,
            ["nova_api", "glance"],
            [f"mariadb --batch -e DROP DATABASE IF EXISTS `{name}`" for name in ("nova_api", "glance")],
        ),
        (
            dropped._VHOSTS,
            ["nova", "glance"],
            ["rabbitmqctl --quiet list_vhosts"] * 2 + ["rabbitmqctl --quiet delete_vhost glance"],
        ),
        (
            dropped._POOLS,
            ["images", "volumes"],
            [
                "ceph config set mon mon_allow_pool_delete true",
                "ceph osd pool ls",
                "ceph osd pool rm images images --yes-i-really-really-mean-it",
                "ceph osd pool ls",
                "ceph config rm mon mon_allow_pool_delete",
            ],
        ),
    ],
)
def test_what_is_there_is_dropped_and_what_is_not_is_no_error(
    tmp_path: Path, script: str, names: list[str], calls: list[str]
) -> None:
    for tool, text in TOOLS.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / tool).chmod(0o755)
    subprocess.run(
        ["bash", "-s", "--", *names],
        input=dropped._STRICT + script,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        text=True,
        check=True,
    )
    assert (tmp_path / "calls").read_text().splitlines() == calls


ENVIRONMENT = {
    "REGISTER_NAME": "glance",
    "REGISTER_TYPE": "image",
    "REGISTER_URL": "https://image.example.org",
    "REGISTER_REGION": "one",
    "REGISTER_PROJECT": "service",
    "REGISTER_ACCOUNT": "glance",
    "REGISTER_PASSWORD": "secret",
    "REGISTER_ROLE": "service",
    "REGISTER_LIMITS": '{"image_count_total": 10}',
    "REGISTER_ACCOUNTS": "glance glance-2",
}


class Script(register.Keystone):
    """The script's Keystone, in memory."""

    def __init__(self) -> None:
        super().__init__("https://x/v3", None)
        self.fake = FakeKeystone()

    def call(self, method: str, path: str, body: register.Json | None = None) -> tuple[register.Json, Any]:
        return self.fake.call(method, path, body)


@pytest.fixture
def keystone(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(register, "Keystone", lambda url, cacert: script)
    register.register(script, ENVIRONMENT)
    return script


def test_endpoints_and_accounts_go_and_the_limits_stay(keystone: Script) -> None:
    items = keystone.fake.items
    items["users"].append({"id": "u9", "name": "glance-2", "domain_id": "default"})
    items["users"].append({"id": "u8", "name": "somebody", "domain_id": "default"})
    unregister.unregister(keystone, ENVIRONMENT)
    assert items["endpoints"] == []
    assert [one["name"] for one in items["users"]] == ["somebody"]
    assert [one["enabled"] for one in items["services"]] == [False]
    assert len(items["registered_limits"]) == 1
    done = len(keystone.fake.changes)
    unregister.unregister(keystone, ENVIRONMENT)
    assert len(keystone.fake.changes) == done


def test_what_an_operator_added_to_the_service_stays(keystone: Script) -> None:
    [service] = keystone.fake.items["services"]
    theirs = {"id": "e9", "service_id": service["id"], "url": "https://theirs", "interface": "public"}
    keystone.fake.items["endpoints"].append(theirs)
    unregister.unregister(keystone, ENVIRONMENT)
    assert keystone.fake.items["endpoints"] == [theirs]
    assert service["enabled"]


def test_turned_on_again_it_is_what_it_was(keystone: Script) -> None:
    unregister.unregister(keystone, ENVIRONMENT)
    register.register(keystone, ENVIRONMENT)
    assert len(keystone.fake.items["endpoints"]) == 3
    assert [one["enabled"] for one in keystone.fake.items["services"]] == [True]
    assert [one["name"] for one in keystone.fake.items["users"]] == ["glance"]
