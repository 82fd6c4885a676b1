"""The queue: what RabbitMQ is told, what waits for what, and accounts that take turns."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pulumi_command as command
import pytest

from jarvis.config import Environment, parse_environment
from jarvis.core.component import Component
from jarvis.remote import Target
from jarvis.stateful.queue import Queue, QueueAccount, QueueAccountArgs, QueueArgs, queue_link
from jarvis.stateful.queue.rabbitmq import (
    NOTIFICATION_BYTES,
    configuration,
    definitions,
    distribution,
    environment,
    mapper_socket,
    password_hash,
    users,
)
from tests.unit.harness import Graph, record
from tests.unit.test_kubernetes_graph import before
from tests.unit.test_kubernetes_text import two_of_the_first

REMOTE = "command:remote:Command"
SERVERS = ("s1", "s2", "s3")


def _settings() -> dict[str, str]:
    text = configuration(address="192.0.2.1", cluster="dev", memory_mib=300)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = [line.split(" = ", 1) for line in lines]
    assert len(pairs) == len({name for name, _ in pairs})
    return dict(pairs)  # type: ignore[arg-type]


def test_the_queue_listens_on_one_address_with_tls_alone() -> None:
    settings = _settings()
    listeners = {name: value for name, value in settings.items() if name.startswith("listeners.")}
    assert listeners == {"listeners.tcp": "none", "listeners.ssl.default": "192.0.2.1:5673"}
    versions = {value for name, value in settings.items() if name.startswith("ssl_options.versions.")}
    assert versions == {"tlsv1.2", "tlsv1.3"}
    assert "ListenStream=\n" in mapper_socket("192.0.2.1")
    assert mapper_socket("192.0.2.1").count(":4369\n") == 2


def test_a_member_without_a_majority_pauses_and_one_without_data_begins_nothing() -> None:
    settings = _settings()
    assert settings["cluster_partition_handling"] == "pause_minority"
    # Past the limit RabbitMQ begins a cluster of its own.
    assert int(settings["cluster_formation.discovery_retry_limit"]) >= 1_000_000
    assert int(settings["mnesia_table_loading_retry_limit"]) >= 1_000_000
    assert settings["vm_memory_high_watermark.absolute"] == "300MiB"


def test_the_shell_reads_how_nodes_speak_to_each_other() -> None:
    text = environment(server="s1", address="192.0.2.1")
    print_all = 'printf "%s\\n" "$NODENAME" "$DIST_PORT" "$SERVER_ADDITIONAL_ERL_ARGS" "$CTL_ERL_ARGS"'
    done = subprocess.run(["sh", "-euc", f"{text}\n{print_all}"], capture_output=True, text=True, check=True)
    name, port, server, tools = done.stdout.splitlines()
    assert (name, port) == ("rabbit@s1", "25672")
    for each in (server, tools):
        assert "-proto_dist inet_tls -ssl_dist_optfile /etc/rabbitmq/distribution.config" in each
        assert "inet_dist_use_interface {192,0,2,1} " in each
        assert "+sbwt none" in each


def test_both_sides_of_two_nodes_show_a_certificate() -> None:
    server, client = distribution().split("\n {client")
    assert "{fail_if_no_peer_cert, true}" in server
    assert "{verify, verify_peer}" in server
    assert "{verify, verify_peer}" in client
    for side in (server, client):
        ciphers = re.findall(r'"((?:TLS_|[A-Z0-9]+-)[A-Z0-9_-]+)"', side)
        assert "ECDHE-ECDSA-AES128-GCM-SHA256" in ciphers
        assert all(re.search("^TLS_|-GCM-|-POLY1305$", cipher) for cipher in ciphers)
    assert distribution().count("[") == distribution().count("]")


def test_two_users_take_turns() -> None:
    assert users("glance", 0) == {0: "glance-a"}
    assert users("glance", 1) == {1: "glance-b", 0: "glance-a"}
    assert users("glance", 2) == {2: "glance-a", 1: "glance-b"}


def test_a_password_is_stored_salted_and_alike_at_each_run() -> None:
    stored = base64.b64decode(password_hash("abc"))
    assert stored[4:] == hashlib.sha256(stored[:4] + b"abc").digest()
    assert password_hash("abc") == password_hash("abc")
    assert base64.b64decode(password_hash("abd"))[:4] != stored[:4]


def test_an_account_reaches_its_own_vhost_and_no_other() -> None:
    found = json.loads(definitions(service="glance", passwords={"glance-b": "new", "glance-a": "old"}))
    assert {one["vhost"] for one in found["permissions"]} == {"glance"}
    assert {one["user"] for one in found["permissions"]} == {"glance-a", "glance-b"}
    assert [one["tags"] for one in found["users"]] == [[], []]
    [vhost] = found["vhosts"]
    assert vhost["metadata"]["default_queue_type"] == "quorum"
    assert "new" not in json.dumps(found["users"])


def test_an_account_reaches_another_vhost_where_it_is_told_to_and_makes_none() -> None:
    found = json.loads(definitions(service="nova", passwords={"nova-a": "new"}, reaches=["nova-cell1"]))
    assert {one["vhost"] for one in found["permissions"]} == {"nova", "nova-cell1"}
    assert [one["name"] for one in found["vhosts"]] == ["nova"]
    with pytest.raises(ValueError, match="not a name"):
        definitions(service="nova", passwords={}, reaches=["a b"])


@pytest.mark.parametrize(
    ("queue", "bounded"),
    [
        ("notifications.info", True),
        ("versioned_notifications.error", True),
        ("notifications", False),
        ("reply_notifications.x", False),
        ("conductor", False),
    ],
)
def test_queues_of_notifications_alone_are_bounded(queue: str, bounded: bool) -> None:
    [policy] = json.loads(definitions(service="nova", passwords={}, notified=True))["policies"]
    assert bool(re.search(policy["pattern"], queue)) == bounded
    assert policy["definition"] == {"max-length-bytes": NOTIFICATION_BYTES, "overflow": "drop-head"}


@pytest.mark.parametrize("service", ["", "a b", "../x", "Glance", "a" * 33])
def test_an_account_has_a_plain_name(service: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        definitions(service=service, passwords={})


def test_an_even_number_of_members_is_refused() -> None:
    with pytest.raises(ValueError, match="odd number of servers, not on 2"):
        QueueArgs(hosts=[], env=two_of_the_first())


class Host(Component, token="test:Host"):
    """Stands for a server that is ready."""

    def __init__(self, env: Environment, number: int) -> None:
        self.server = env.servers[number]
        super().__init__(self.server.name)
        address = str(self.server.address)
        self.target = Target(server=self.server.name, host=address, host_key="ssh-ed25519 AAAA").ending_with(
            self
        )
        self.register_outputs({})


def _environment() -> Environment:
    roles = ["etcd", "control-plane", "worker", "gateway", "registry", "storage", "queue"]
    servers: list[dict[str, Any]] = [
        {"name": name, "address": f"192.0.2.1{at}", "host_key": "ssh-ed25519 AAAA", "roles": roles}
        for at, name in enumerate(SERVERS)
    ]
    servers[0]["roles"] = [*roles, "database"]
    networks = {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"}
    values = {"name": "dev", "networks": networks, "servers": servers, "rotations": {"queue-s2": 1}}
    return parse_environment(values, "a test")


@pytest.fixture(scope="module")
def graph() -> Graph:
    def program() -> None:
        env = _environment()
        hosts: Any = [Host(env, number) for number in range(len(SERVERS))]
        queue = Queue("queue", QueueArgs(hosts=hosts, env=env))
        account = QueueAccount("nova-queue", QueueAccountArgs(queue=queue, service="nova", rotation=3))
        command.local.Command("shown", stdin=account.url)

    return record(program)


def test_members_are_changed_one_after_the_other(graph: Graph) -> None:
    for earlier, later in pairwise(SERVERS):
        assert f"queue-{earlier}" in before(graph, f"{REMOTE} queue-{later}")
    text = [str(graph.resources[f"{REMOTE} queue-{name}"].inputs["create"]) for name in SERVERS]
    assert "rabbitmq-member prepare yes s2,s3\n" in text[0]
    assert "rabbitmq-member prepare no s1,s3\n" in text[1]
    assert "rabbitmq-member prepare no s1,s2\n" in text[2]
    assert all("gate /var/lib/jarvis/bin/rabbitmq-member gate\n" in one for one in text)


def test_who_the_others_are_restarts_nobody(graph: Graph) -> None:
    """It stands in command lines, which units do not depend on, and in no file."""
    text = str(graph.resources[f"{REMOTE} queue-s1"].inputs["create"])
    files = [line for line in text.splitlines() if line.startswith("|")]
    assert not any("s2" in line or "s3" in line for line in files)


def test_key_and_cookie_travel_by_stdin_alone_and_restart_nobody(graph: Graph) -> None:
    for name in SERVERS:
        secrets = graph.resources[f"{REMOTE} queue-{name}-secrets"]
        assert "stdin" in secrets.secrets
        assert "/var/lib/jarvis/queue/cookie" in str(secrets.inputs["stdin"])
        assert "unit " not in str(secrets.inputs["create"]).split("file ")[0]
        assert f"queue-{name}-secrets" in before(graph, f"{REMOTE} queue-{name}")


def test_the_account_comes_after_all_members_and_its_url_is_secret(graph: Graph) -> None:
    account = graph.resources[f"{REMOTE} nova-queue"]
    assert {f"queue-{name}" for name in SERVERS} <= before(graph, f"{REMOTE} nova-queue")
    assert "stdin" in account.secrets
    shown = graph.resources["command:local:Command shown"]
    assert shown.secrets == {"stdin"}
    url = urlsplit(shown.inputs["stdin"])
    assert (url.scheme, url.username, url.port, url.path) == ("rabbit", "nova-b", 5671, "/nova")
    assert url.hostname == "queue.openstack.svc.cluster.local"
    # The password before goes on.
    assert "nova-a" in account.inputs["stdin"]
    assert str(url.password) not in account.inputs["stdin"]


def test_the_link_leads_to_members_that_shake_hands() -> None:
    link = queue_link(_environment())
    assert (link.port, link.member_port, link.one_writer) == (5671, 5673, False)
    assert [member.name for member in link.members] == list(SERVERS)
    assert "check-ssl" in link.check.options


def test_nodes_on_slow_servers_have_longer_to_connect() -> None:
    assert "net_setuptime" not in environment(server="s1", address="192.0.2.1")
    slow = environment(server="s1", address="192.0.2.1", patience=20)
    assert slow.count("-kernel net_setuptime 120") == 2
    assert "-kernel net_ticktime 200" in slow
