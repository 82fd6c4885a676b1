"""The virtual address of the API leaves a server before its API server stops: who asks then is answered."""

from __future__ import annotations

import base64
import http.client
import ssl
import tempfile
import threading
from collections.abc import Iterator

import pytest
import yaml
from deployment import Cloud, wait_until

PORT = 6443
MINUTES = 60
# Between two requests. A gap of a second or two, as by a missed holder, would cut off several.
PAUSE_SECONDS = 0.1
# A client gives one up after so long.
PATIENCE_SECONDS = 5


class Asking:
    """Asks the API by the virtual address, again and again, each time by a connection of its own."""

    def __init__(self, cloud: Cloud) -> None:
        config = yaml.safe_load(cloud.stack.workspace.kubeconfig.read_text())
        user = config["users"][0]["user"]
        trust = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=trust)
        with tempfile.NamedTemporaryFile() as file:
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]))
            file.flush()
            self._context.load_cert_chain(file.name)
        self._address = cloud.virtual_address
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.answered = 0
        self.problems: list[str] = []

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            connection = http.client.HTTPSConnection(
                self._address, PORT, context=self._context, timeout=PATIENCE_SECONDS
            )
            try:
                connection.request("GET", "/api/v1/namespaces")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.client.OK:
                    self.answered += 1
                else:
                    self.problems.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(str(error) or type(error).__name__)
            finally:
                connection.close()


@pytest.fixture
def holder(cloud: Cloud) -> Iterator[str]:
    """The server that has the address; all may have it again at the end."""
    wait_until("somebody has the address", cloud.holder, MINUTES)
    found = cloud.holder()
    assert found is not None
    yield found
    for server in cloud.servers:
        wait_until(
            f"the API server of {server} is ready",
            lambda server=server: (
                cloud.attempt_ssh(server, "/var/lib/jarvis/bin/apiserver-ready 127.0.0.1:6443").returncode
                == 0
            ),
            3 * MINUTES,
        )


def test_an_api_server_that_restarts_cuts_nobody_off(cloud: Cloud, holder: str) -> None:
    with Asking(cloud) as asking:
        wait_until("the API answers", lambda: asking.answered, MINUTES)
        cloud.ssh(holder, "systemctl restart kube-apiserver.service")
        after = asking.answered
        wait_until("the API goes on", lambda: asking.answered > after + 20, MINUTES)
    # One may have been under way when the address moved, and its connection ended at the former holder. More
    # are refused by a holder that stops without a word, until the others miss it.
    assert len(asking.problems) <= 1, asking.problems
    assert cloud.holder() not in (holder, None)
    # Back, and no reason to stay away: the flag is gone.
    assert cloud.ssh(holder, "cat /run/jarvis-virtual-address/leaving").strip() == "0"
