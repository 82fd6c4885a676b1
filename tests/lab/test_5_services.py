"""Services are turned on beside those that run, and off again: only what is their own comes and goes."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from deployment import OPENSTACK, ROOT, Cloud, wait_until

NAMES = ("placement", "nova")
# Nova's secret for metadata, which Neutron's agents will share, belongs to neither alone.
SHARED = "metadata-proxy-secret"
# Each process of a web service loads its program by itself, which takes seconds of a processor.
SMALL = {"metadata": {"processes": 1}}
DATABASES = {"placement", "nova_api", "nova_cell0", "nova_cell1"}
VHOSTS = {"nova", "nova-cell1"}
# By the ordinary SDK, whose client for the command line has no commands for this service.
CLASSES = """
import openstack
version = {"OpenStack-API-Version": "placement 1.39"}
found = openstack.connect("jarvis").placement.get("/resource_classes", headers=version)
found.raise_for_status()
print(*(one["name"] for one in found.json()["resource_classes"]))
"""
ASK = "import requests, sys; print(requests.get(sys.argv[1], verify=sys.argv[2]).status_code)"
# A server is shown with its security groups, and deleted with its ports, for which Nova asks Neutron: there
# is none, so its actions are asked for.
REFUSED = """
import sys, time
import openstack
cloud = openstack.connect("jarvis")
flavor, image = cloud.get_flavor(sys.argv[1]).id, cloud.get_image(sys.argv[2]).id

def ask(method, path, **more):
    answer = cloud.compute.request(path, method, headers={"OpenStack-API-Version": "compute 2.90"}, **more)
    answer.raise_for_status()
    return answer

wanted = {"name": "refused", "imageRef": image, "flavorRef": flavor, "networks": "none"}
server = ask("POST", "/servers", json={"server": wanted}).json()["server"]["id"]

def events():
    actions = ask("GET", f"/servers/{server}/os-instance-actions").json()["instanceActions"]
    one = [ask("GET", f"/servers/{server}/os-instance-actions/{a['request_id']}").json() for a in actions]
    return [event for each in one for event in each["instanceAction"]["events"]]

deadline = time.monotonic() + 60
while not (found := [event for event in events() if event["result"]]):
    assert time.monotonic() < deadline, "nothing came of it"
    time.sleep(0.5)
print(found)
"""


def vhosts(cloud: Cloud) -> set[str]:
    found = json.loads(cloud.ssh(cloud.servers[0], "rabbitmqctl list_vhosts --formatter json"))
    return {one["name"] for one in found}


def databases(cloud: Cloud) -> set[str]:
    return set(cloud.ssh(cloud.servers[0], "mariadb --batch --skip-column-names -e 'SHOW DATABASES'").split())


@pytest.fixture(scope="module")
def others(cloud: Cloud) -> Iterator[set[str]]:
    """The pods of the services that run meanwhile, which are the same at the end."""
    before = cloud.pods("keystone") | cloud.pods("glance")
    yield before
    assert cloud.pods("keystone") | cloud.pods("glance") == before


def names_one(label: str) -> bool:
    return any(name in label for name in (*NAMES, SHARED))


def workers(cloud: Cloud) -> Counter[str]:
    """How many workers of Nova are up, as Nova says, by their program."""
    return Counter(one["Binary"] for one in cloud.shown("compute", "service", "list") if one["State"] == "up")


def test_services_are_turned_on(cloud: Cloud, others: set[str]) -> None:
    stack = cloud.stack
    stack.configure(stack.changed(openstack={"services": ["keystone", "glance", *NAMES], "nova": SMALL}))
    preview = stack.run("preview").steps()
    # Where they were on before, what took them out of Keystone goes.
    other = {
        label: step
        for label, step in preview.items()
        if step != "create" and not (step == "delete" and label.endswith("-unregister"))
    }
    assert other == {}
    assert [label for label, step in preview.items() if step == "create" and not names_one(label)] == []
    assert stack.up().steps() == preview
    assert stack.run("preview", "--expect-no-changes").steps() == {}

    assert {"VCPU", "MEMORY_MB"} <= set(cloud.tool(sys.executable, "-c", CLASSES).stdout.split())
    kinds = {one["Name"]: one["Type"] for one in cloud.shown("service", "list")}
    assert [kinds[name] for name in NAMES] == ["placement", "compute"]
    for name in NAMES:
        assert len(cloud.shown("endpoint", "list", "--service", name)) == 3
        assert cloud.pods(name)
    assert databases(cloud) >= DATABASES


def test_a_server_without_a_host_is_refused_by_the_scheduler(cloud: Cloud, others: set[str]) -> None:
    """From the API by the queue to the super conductor and the scheduler, to Placement, and into cell0."""
    # The conductors of a cell and those above it are one program to Nova. Two replicas each.
    up = {"nova-conductor": 4, "nova-scheduler": 2}
    wait_until("Nova's workers are up", lambda: workers(cloud) == up, 120, instead=lambda: workers(cloud))
    image, flavor = "nothing-boots-this", "tiny"
    openstack = partial(cloud.tool, *OPENSTACK)
    openstack("flavor", "create", "--ram", "64", "--disk", "1", "--vcpus", "1", flavor)
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(1 << 20))
        file.flush()
        openstack("image", "create", "--disk-format", "raw", "--file", file.name, image)
    try:
        told = cloud.tool(sys.executable, "-c", REFUSED, flavor, image).stdout
        assert "No valid host was found" in told
    finally:
        openstack("image", "delete", image)
        openstack("flavor", "delete", flavor)


def test_deleted_servers_are_tidied_up_by_the_schedule(cloud: Cloud, others: set[str]) -> None:
    cloud.kubectl("--namespace=openstack", "create", "job", "tidy-now", "--from=cronjob/nova-tidy")
    try:
        cloud.kubectl(
            "--namespace=openstack", "wait", "--for=condition=complete", "--timeout=120s", "job/tidy-now"
        )
        assert "Traceback" not in cloud.kubectl("--namespace=openstack", "logs", "job/tidy-now")
    finally:
        cloud.kubectl("--namespace=openstack", "delete", "job", "tidy-now")


def test_turned_off_they_leave_their_data_and_nothing_else(cloud: Cloud, others: set[str]) -> None:
    stack = cloud.stack
    try:
        stack.configure(stack.environment)
        preview = stack.run("preview").steps()
        kept = {label for label, step in preview.items() if step not in ("delete", "update")}
        assert {label.rpartition(" ")[2] for label in kept} == {f"{name}-unregister" for name in NAMES}
        assert "update" not in preview.values()
        assert stack.up().steps() == preview
    finally:
        stack.configure(stack.environment)
    assert stack.run("preview", "--expect-no-changes").steps() == {}

    assert {one["Service Name"] for one in cloud.shown("endpoint", "list")}.isdisjoint(NAMES)
    assert {one["Name"] for one in cloud.shown("user", "list")}.isdisjoint(NAMES)
    # The route is there as before, and nobody behind it.
    url = f"https://{cloud.virtual_address}/compute/"
    assert cloud.tool(sys.executable, "-c", ASK, url, str(cloud.authority)).stdout.split() == ["503"]
    for name in NAMES:
        selector = f"app.kubernetes.io/name={name}"
        kinds = "deployments,cronjobs,configmaps,secrets,services,pods"
        left = cloud.kubectl(
            "--namespace=openstack", "get", kinds, "--selector", selector, "-o", "name"
        ).split()
        assert [one for one in left if f"/{name}-unregister" not in one] == []
    assert databases(cloud) >= DATABASES
    assert vhosts(cloud) >= VHOSTS
    accounts = cloud.ssh(
        cloud.servers[0], "mariadb --batch --skip-column-names -e 'SELECT User FROM mysql.global_priv'"
    )
    assert DATABASES.isdisjoint(accounts.split())
    listing = "rabbitmqctl list_users --formatter json"
    users = {one["user"] for one in json.loads(cloud.ssh(cloud.servers[0], listing))}
    assert not [user for user in users if user.startswith("nova")], users


def test_a_dump_has_every_services_data(cloud: Cloud) -> None:
    """By the commands of docs/operating.md."""
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    [dump] = re.findall(r"^    own=.*\n    databases=.*\n    mariadb-dump .*\n", text, re.MULTILINE)
    server = cloud.servers[0]
    used = cloud.ssh(server, f"cd $(mktemp -d) && {dump.strip()} && gunzip <databases.sql.gz | grep ^USE")
    assert set(used.splitlines()) == {f"USE `{name}`;" for name in {"glance", "keystone"} | DATABASES}


def test_data_that_nobody_needs_goes_by_its_name(cloud: Cloud, others: set[str]) -> None:
    stack = cloud.stack
    try:
        stack.configure(stack.changed(safety={"may_remove": [f"{name}-data" for name in NAMES]}))
        preview = stack.run("preview").steps()
        commands = {label.rpartition(" ")[2] for label in preview if label.startswith("command:")}
        assert commands == {"placement-data-databases", "nova-data-databases", "nova-data-vhosts"}
        assert set(preview.values()) == {"create"}
        assert stack.up().steps() == preview
    finally:
        stack.configure(stack.environment)
    assert databases(cloud).isdisjoint(DATABASES)
    assert {"glance", "keystone"} <= databases(cloud)
    assert vhosts(cloud).isdisjoint(VHOSTS)
    assert set(stack.up().steps().values()) == {"delete"}
    assert stack.run("preview", "--expect-no-changes").steps() == {}
