"""A server that is gone for good: one deployment asks nothing of it, and it opens nothing afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from deployment import Cloud, Run, lab, wait_until

MINUTES = 60
# What a server tries from where it is, and nobody is to answer: the API, etcd and its peers, the database,
# the queue and its members, Ceph, the registry.
PORTS = (6443, 2379, 2380, 3307, 5673, 25672, 3300, 5000)
KUBELET = "/etc/kubernetes/kubelet"
# What an API server says to a user whom an authorizer refuses without an answer: that this has failed.
REFUSED = ("403", "500")


@pytest.fixture(scope="module")
def gone(cloud: Cloud) -> str:
    """The server that is lost: the last one, off."""
    name = cloud.servers[-1]
    lab("power-off", name)
    return name


@pytest.fixture(scope="module")
def run(cloud: Cloud, gone: str) -> Iterator[Run]:
    """The deployment that forgets it."""
    stack, before = cloud.stack, cloud.stack.environment
    servers = [dict(server) for server in before["servers"]]
    servers[-1]["lost"] = True
    stack.environment = {**before, "servers": servers}
    stack.configure(stack.environment)
    yield stack.up()
    stack.environment = before
    stack.configure(before)


def ceph(cloud: Cloud, *words: str) -> object:
    return json.loads(cloud.ssh(cloud.servers[0], f"timeout 60 ceph {' '.join(words)} --format json"))


def test_one_deployment_forgets_it(cloud: Cloud, gone: str, run: Run) -> None:
    steps = run.steps()
    deleted = {label.split(" ", 1)[1] for label, step in steps.items() if step == "delete"}
    assert {f"etcd-{gone}", f"{gone}-base", f"{gone}-node-kubelet", gone} <= deleted
    assert not [label for label, step in steps.items() if "replace" in step]
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}


def test_the_others_are_whole_without_it(cloud: Cloud, gone: str, run: Run) -> None:
    first = cloud.servers[0]
    left = cloud.servers[:-1]
    wait_until("nodes", lambda: sorted(cloud.ready_nodes()) == sorted(left), 2 * MINUTES)
    assert gone not in [node["metadata"]["name"] for node in cloud.objects("nodes")]
    assert len(cloud.healthy_members(first)) == len(left)
    assert gone not in cloud.ssh(first, "rabbitmqctl --quiet cluster_status --formatter json")
    assert gone not in str(ceph(cloud, "mon", "dump"))
    assert gone not in str(ceph(cloud, "osd", "tree"))
    size = "mariadb --batch --skip-column-names --execute \"SHOW STATUS LIKE 'wsrep_cluster_size'\""
    assert cloud.ssh(first, size).split()[-1] == str(len(left))


def test_powered_on_again_it_is_refused(cloud: Cloud, gone: str, run: Run) -> None:
    lab("power-on", gone)
    for server in cloud.servers[:-1]:
        address = next(one["address"] for one in cloud.facts["servers"] if one["name"] == server)
        for port in PORTS:
            tried = cloud.attempt_ssh(gone, f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'")
            assert tried.returncode != 0, f"{server}:{port}"
    assert gone not in [node["metadata"]["name"] for node in cloud.objects("nodes")]


def test_the_key_of_its_kubelet_opens_nothing_from_anywhere(
    cloud: Cloud, gone: str, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Here: from this machine, which firewalls let in."""
    folder = tmp_path_factory.mktemp("stolen")
    for name in ("ca.crt", "client.crt", "client.key"):
        (folder / name).write_text(cloud.ssh(gone, f"cat {KUBELET}/{name}"))
    (folder / "client.key").chmod(0o600)
    for path in ("/api/v1/services", f"/api/v1/nodes/{gone}", "/api/v1/nodes", "/version"):
        for server in cloud.servers[:-1]:
            address = next(one["address"] for one in cloud.facts["servers"] if one["name"] == server)
            words = ["curl", "--silent", "--max-time", "30", "--output", "/dev/null"]
            words += ["--write-out", "%{http_code}", "--cacert", str(folder / "ca.crt")]
            words += ["--cert", str(folder / "client.crt"), "--key", str(folder / "client.key")]
            assert cloud.tool(*words, f"https://{address}:6443{path}").stdout in REFUSED, path
    # Nor does it take the virtual address, which the others would not even hear of.
    assert cloud.holder() in cloud.servers[:-1]
    assert f" {cloud.virtual_address}/" not in cloud.ssh(gone, "ip -o -4 address show")
    # Others of its kind are let in, by the same way.
    other = cloud.servers[0]
    ask = f"curl --silent --output /dev/null --write-out '%{{http_code}}' --cacert {KUBELET}/ca.crt"
    ask += (
        f" --cert {KUBELET}/client.crt --key {KUBELET}/client.key https://127.0.0.1:7443/api/v1/nodes/{other}"
    )
    assert cloud.ssh(other, ask) == "200"


def test_emptied_it_takes_its_place_again(cloud: Cloud, gone: str, run: Run) -> None:
    before = cloud.stack.environment
    cloud.ssh(gone, "/var/lib/jarvis/bin/apply --remove-all; rm -rf /var/lib/jarvis-scripts")
    servers = [{key: value for key, value in one.items() if key != "lost"} for one in before["servers"]]
    cloud.stack.environment = {**before, "servers": servers}
    cloud.stack.configure(cloud.stack.environment)
    cloud.stack.up()
    wait_until("nodes", lambda: sorted(cloud.ready_nodes()) == sorted(cloud.servers), 3 * MINUTES)
    wait_until("etcd", lambda: len(cloud.healthy_members(gone)) == len(cloud.servers), 2 * MINUTES)
    wait_until("Ceph", lambda: ceph(cloud, "health")["status"] == "HEALTH_OK", 5 * MINUTES)  # type: ignore[index]
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
