"""What Keystone keeps in memory: it is in use, it forgets what was taken back, and it may go."""

from __future__ import annotations

import json
import time

import pytest
from deployment import Cloud, wait_until
from test_3_cloud import keystone_pods
from tokens import TokenLoop

from tests.faults.client import Gateway, Refused

NAMESPACE = "openstack"
CACHE = "app.kubernetes.io/name=keystone,app.kubernetes.io/component=cache"
PATIENCE_SECONDS = 180
# As many as both pods have processes, and some more.
QUESTIONS = 12
# By the certificate that Keystone's pods have.
STATISTICS = """
import socket, ssl
folder, host = "/etc/jarvis/cache/", "keystone-cache.openstack.svc.cluster.local"
trust = ssl.create_default_context(cafile=folder + "ca.pem")
trust.load_cert_chain(folder + "client.pem", folder + "client.key")
stream = trust.wrap_socket(socket.create_connection((host, 11211), timeout=10), server_hostname=host)
stream.sendall(b"stats\\r\\n")
text = b""
while not text.endswith(b"END\\r\\n"):
    text += stream.recv(65536)
print(text.decode())
"""


def _count(cloud: Cloud, name: str) -> int:
    """One of memcached's counters."""
    pod = keystone_pods(cloud)[0]
    text = cloud.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", STATISTICS)
    return int(dict(line.split()[1:3] for line in text.splitlines() if line.startswith("STAT"))[name])


def test_keystone_asks_it_before_the_database(cloud: Cloud) -> None:
    before = _count(cloud, "get_hits")
    for _ in range(3):
        cloud.tool("openstack", "--os-cloud", "jarvis", "token", "issue")
    assert _count(cloud, "get_hits") > before


def test_a_token_that_was_taken_back_is_good_nowhere(cloud: Cloud) -> None:
    """Not by any process of any pod, at once: all keep it in the same place."""
    issue = ("openstack", "--os-cloud", "jarvis", "token", "issue", "-f", "json")
    admin, taken = (json.loads(cloud.tool(*issue).stdout)["id"] for _ in range(2))
    gateway = Gateway(cloud.virtual_address, cloud.authority)
    url = f"https://{cloud.virtual_address}/identity/v3/auth/tokens"
    for _ in range(QUESTIONS):
        gateway.ask("GET", url, 200, token=admin, headers={"X-Subject-Token": taken}, patience=60)
    gateway.ask("DELETE", url, 204, token=admin, headers={"X-Subject-Token": taken}, patience=60)
    for _ in range(QUESTIONS):
        with pytest.raises(Refused, match="404"):
            gateway.ask("GET", url, 200, token=admin, headers={"X-Subject-Token": taken}, patience=60)


def test_tokens_go_on_without_it(cloud: Cloud) -> None:
    """The first is killed: the second is used, and then the first again, which has a new process."""
    pods = cloud.objects("pods", "-n", NAMESPACE, "-l", CACHE)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    [name] = [
        pod["metadata"]["name"] for pod in pods if pod["metadata"]["labels"]["jarvis.internal/cache"] == "1"
    ]
    with TokenLoop(cloud.stack.workspace.clouds, cloud.authority, validate=True) as loop:
        wait_until("the first token", lambda: loop.answers, PATIENCE_SECONDS)
        cloud.kubectl("delete", "pod", "-n", NAMESPACE, name, "--grace-period=0", "--force")
        cloud.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/keystone-cache-1", "--timeout=180s")
        moment = time.monotonic()
        wait_until("tokens after it", lambda: loop.tokens_since(moment) > QUESTIONS, PATIENCE_SECONDS)
    assert loop.problems() == []
    wait_until("it is used", lambda: _count(cloud, "get_hits") > 0, PATIENCE_SECONDS)
