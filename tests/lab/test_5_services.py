"""A service is turned on beside those that run, and off again: only what is its own comes and goes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from deployment import ROOT, Cloud

OPENSTACK = ("openstack", "--os-cloud", "jarvis")
GATEWAY = {"kubernetes:core/v1:ConfigMap gateway": "update", "kubernetes:apps/v1:DaemonSet gateway": "update"}
NAME = "placement"
# By the ordinary SDK, whose client for the command line has no commands for this service.
CLASSES = """
import openstack
version = {"OpenStack-API-Version": "placement 1.39"}
found = openstack.connect("jarvis").placement.get("/resource_classes", headers=version)
found.raise_for_status()
print(*(one["name"] for one in found.json()["resource_classes"]))
"""


def pods(cloud: Cloud, service: str) -> set[str]:
    selector = f"app.kubernetes.io/name={service},app.kubernetes.io/component=api"
    found = cloud.objects("pods", "--namespace", "openstack", "--selector", selector)
    return {one["metadata"]["uid"] for one in found}


def listed(cloud: Cloud, *words: str) -> list[dict[str, Any]]:
    return list(json.loads(cloud.tool(*OPENSTACK, *words, "-f", "json").stdout))


def databases(cloud: Cloud) -> set[str]:
    return set(cloud.ssh(cloud.servers[0], "mariadb --batch --skip-column-names -e 'SHOW DATABASES'").split())


@pytest.fixture(scope="module")
def others(cloud: Cloud) -> Iterator[set[str]]:
    """The pods of the services that run meanwhile, which are the same at the end."""
    before = pods(cloud, "keystone") | pods(cloud, "glance")
    yield before
    assert pods(cloud, "keystone") | pods(cloud, "glance") == before


def test_a_service_is_turned_on(cloud: Cloud, others: set[str]) -> None:
    stack = cloud.stack
    stack.configure(stack.changed(openstack={"services": ["keystone", "glance", NAME]}))
    preview = stack.run("preview").steps()
    assert {label: step for label, step in preview.items() if step != "create"} == GATEWAY
    assert all(NAME in label for label, step in preview.items() if step == "create")
    assert stack.up().steps() == preview
    assert stack.run("preview", "--expect-no-changes").steps() == {}

    assert {"VCPU", "MEMORY_MB"} <= set(cloud.tool(sys.executable, "-c", CLASSES).stdout.split())
    [service] = [one for one in listed(cloud, "service", "list") if one["Name"] == NAME]
    assert service["Type"] == NAME
    assert len(listed(cloud, "endpoint", "list", "--service", NAME)) == 3
    assert NAME in databases(cloud)
    assert pods(cloud, NAME)


def test_turned_off_it_leaves_its_data_and_nothing_else(cloud: Cloud, others: set[str]) -> None:
    stack = cloud.stack
    try:
        stack.configure(stack.environment)
        preview = stack.run("preview").steps()
        kept = {label for label, step in preview.items() if step not in ("delete", "update")}
        assert {label.rpartition(" ")[2] for label in kept} == {f"{NAME}-unregister"}
        assert {label: step for label, step in preview.items() if step == "update"} == GATEWAY
        assert stack.up().steps() == preview
    finally:
        stack.configure(stack.environment)
    assert stack.run("preview", "--expect-no-changes").steps() == {}

    assert not [one for one in listed(cloud, "endpoint", "list") if one["Service Name"] == NAME]
    assert NAME not in {one["Name"] for one in listed(cloud, "user", "list")}
    assert pods(cloud, NAME) == set()
    assert NAME in databases(cloud)
    accounts = cloud.ssh(
        cloud.servers[0], "mariadb --batch --skip-column-names -e 'SELECT User FROM mysql.global_priv'"
    )
    assert NAME not in accounts.split()


def test_a_dump_has_every_services_data_and_what_nobody_needs_is_dropped(cloud: Cloud) -> None:
    """By the commands of docs/operating.md."""
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    [dump] = re.findall(r"^    own=.*\n    databases=.*\n    mariadb-dump .*\n", text, re.MULTILINE)
    server = cloud.servers[0]
    used = cloud.ssh(server, f"cd $(mktemp -d) && {dump.strip()} && gunzip <databases.sql.gz | grep ^USE")
    assert set(used.splitlines()) == {f"USE `{name}`;" for name in ("glance", "keystone", NAME)}
    [drop] = re.findall(r"`(mariadb -e 'DROP DATABASE placement')`", text)
    cloud.ssh(server, drop)
    assert NAME not in databases(cloud)
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
