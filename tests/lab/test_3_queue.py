"""The queue, as RabbitMQ's own tools on a server and a client of AMQP outside see it."""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from deployment import Cloud, wait_until
from pika.exceptions import AMQPConnectionError, AMQPError

NAME, PORT, MEMBER_PORT = "queue.jarvis.internal", 5671, 5673
# Vhost and user of this test alone.
TRIAL = "trial"
MESSAGES = 50
SECONDS = 240
# A notification to the queue trial.info, sent as the service in whose pod this runs would.
NOTIFY = """
from oslo_config import cfg
import oslo_messaging
conf = cfg.ConfigOpts()
conf([], project="trial", default_config_files=[], default_config_dirs=[])
transport = oslo_messaging.get_notification_transport(conf)
notifier = oslo_messaging.Notifier(transport, "trial", driver="messagingv2", topics=["trial"], retry=5)
notifier.info({}, "trial", {"number": 7})
"""


class Client:
    """A client outside, of the user and vhost ``TRIAL``, that holds certificates against ``NAME``."""

    def __init__(self, cloud: Cloud, authority: Path, password: str) -> None:
        self._address = cloud.virtual_address
        self._context = ssl.create_default_context(cafile=str(authority))
        self._password = password

    def connect(self, user: str = TRIAL, vhost: str = TRIAL) -> pika.BlockingConnection:
        return pika.BlockingConnection(
            pika.ConnectionParameters(
                self._address,
                PORT,
                vhost,
                pika.PlainCredentials(user, self._password),
                ssl_options=pika.SSLOptions(self._context, NAME),
                socket_timeout=10,
                stack_timeout=20,
                blocked_connection_timeout=20,
            )
        )

    def publish(self, queue: str, bodies: set[bytes]) -> None:
        """Declares a queue whose type its vhost decides, and has each message acknowledged."""
        with self.connect() as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True)
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)

    def consume(self, queue: str, into: set[bytes]) -> None:
        """Takes what is there, and acknowledges it; a connection that is lost is for the next call."""
        try:
            with self.connect() as connection:
                channel = connection.channel()
                while (got := channel.basic_get(queue))[0] is not None:
                    into.add(got[2])
                    channel.basic_ack(got[0].delivery_tag)
        except (AMQPError, OSError):
            return


def running(cloud: Cloud, server: str) -> list[str]:
    """The members that run, as the one on ``server`` says; none if it does not answer."""
    run = cloud.attempt_ssh(server, "rabbitmqctl --formatter json --quiet cluster_status")
    try:
        return sorted(json.loads(run.stdout)["running_nodes"])
    except ValueError:
        return []


@pytest.fixture(scope="module")
def client(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    server, password = cloud.servers[0], secrets.token_hex(16)
    authority = tmp_path_factory.mktemp("queue") / "authority.pem"
    authority.write_text(cloud.ssh(server, "cat /etc/rabbitmq/jarvis/authority.pem"))
    cloud.ssh(
        server,
        f"rabbitmqctl --quiet add_vhost {TRIAL} --default-queue-type quorum"
        f" && echo {password} | rabbitmqctl --quiet add_user {TRIAL}"
        f" && rabbitmqctl --quiet set_permissions --vhost {TRIAL} {TRIAL} '.*' '.*' '.*'",
    )
    yield Client(cloud, authority, password)
    cloud.ssh(server, f"rabbitmqctl --quiet delete_user {TRIAL}; rabbitmqctl --quiet delete_vhost {TRIAL}")


def test_all_members_are_one_cluster(cloud: Cloud) -> None:
    expected = sorted(f"rabbit@{server}" for server in cloud.servers)
    for server in cloud.servers:
        run = cloud.ssh(server, "rabbitmqctl --formatter json --quiet cluster_status")
        status = json.loads(run)
        assert sorted(status["running_nodes"]) == sorted(status["disk_nodes"]) == expected, server
        assert not status["partitions"], server
        assert not status["alarms"], server


def test_members_listen_with_tls_alone(cloud: Cloud) -> None:
    for server, said in cloud.each("rabbitmq-diagnostics --formatter json --quiet listeners"):
        listeners = {(one["port"], one["protocol"]) for one in json.loads(said)["listeners"]}
        assert listeners == {(25672, "clustering"), (MEMBER_PORT, "amqp/ssl")}, server
    # Between members too: what listens there shows no one a handshake without a certificate.
    address = cloud.servers[0]
    said = cloud.attempt_ssh(
        cloud.servers[1],
        f"openssl s_client -brief -tls1_2 -connect {address}:25672 -verify_return_error"
        " -CAfile /etc/rabbitmq/jarvis/authority.pem </dev/null 2>&1",
    )
    assert "alert handshake failure" in said.stdout or "alert certificate required" in said.stdout, said


def test_a_stranger_is_refused(client: Client) -> None:
    for user in ("guest", "nobody"):
        with pytest.raises(AMQPConnectionError):
            client.connect(user)
    with pytest.raises(AMQPConnectionError):
        client.connect(vhost="/")


def test_each_service_has_a_part_of_its_own(cloud: Cloud) -> None:
    server = cloud.servers[0]
    for name in ("keystone", "glance"):
        said = cloud.ssh(server, f"rabbitmqctl --formatter json --quiet list_user_permissions {name}-a")
        [only] = json.loads(said)
        assert (only["vhost"], only["configure"], only["write"], only["read"]) == (name, ".*", ".*", ".*")


@pytest.mark.parametrize("name", ["keystone", "glance"])
def test_a_services_pod_reaches_its_part_by_its_own_environment(cloud: Cloud, name: str) -> None:
    """By OpenStack's own library, with the certificate checked: what is acknowledged is in a quorum queue."""
    server = cloud.servers[0]
    labels = f"app.kubernetes.io/name={name},app.kubernetes.io/component=api"
    pod = cloud.objects("pods", "-n", "openstack", "-l", labels)[0]["metadata"]["name"]
    cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", NOTIFY)
    listed = f"rabbitmqctl --formatter json --quiet list_queues --vhost {name} name type messages"

    def there() -> bool:
        queues = json.loads(cloud.ssh(server, listed))
        return bool(queues == [{"name": "trial.info", "type": "quorum", "messages": 1}])

    try:
        # RabbitMQ counts the messages of a quorum queue every few seconds only.
        wait_until("the message is counted", there, SECONDS)
    finally:
        cloud.ssh(server, f"rabbitmqctl --quiet delete_queue --vhost {name} trial.info")


def test_what_was_acknowledged_survives_the_kill_of_the_queues_leader(cloud: Cloud, client: Client) -> None:
    sent = {str(number).encode() for number in range(MESSAGES)}
    client.publish("survivor", sent)
    table = cloud.ssh(
        cloud.servers[0],
        f"rabbitmqctl --formatter json --quiet list_queues --vhost {TRIAL} type leader members",
    )
    [queue] = json.loads(table)
    assert queue["type"] == "quorum"
    assert len(queue["members"]) == len(cloud.servers)
    lost = queue["leader"].removeprefix("rabbit@")
    cloud.ssh(lost, "systemctl kill --signal=SIGKILL rabbitmq-server")
    got: set[bytes] = set()

    def all_there() -> bool:
        client.consume("survivor", got)
        return got == sent

    wait_until("all messages are there", all_there, SECONDS)
    wait_until("all members run again", lambda: len(running(cloud, lost)) == len(cloud.servers), SECONDS)
