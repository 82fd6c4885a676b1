"""Every request gets one answer in JSON with its id, one run and one line in the gateway's log."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ssl import create_default_context
from typing import Any

import pytest
import yaml
from deployment import Cloud, wait_until
from test_3_images import OPENSTACK
from test_3_stateful import in_step

MINUTES = 60
PENGUIN = "\U0001f427"
# As HTTP's percent encoding has it.
QUOTED = "%F0%9F%90%A7"
ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The ids of a service's own in its log: one for each run of a request. uWSGI's logs have them in JSON.
OWN_ID = re.compile(r'"request_id": "(req-[0-9a-f-]{36})"')
GATEWAY = "grep -rhE -- '%s' /var/log/pods/gateway_*; true"
SERVICES = "grep -rhE -- '%s' /var/log/pods/openstack_keystone-*; true"
TEXT_COLUMNS = (
    'mariadb --batch --skip-column-names --execute "SELECT DISTINCT table_schema, character_set_name'
    " FROM information_schema.columns"
    " WHERE character_set_name IS NOT NULL AND table_schema IN ('keystone', 'glance')\""
)


@dataclass
class Client:
    """Asks Keystone through the gateway. ``url``: with ``/v3``."""

    cloud: Cloud
    url: str
    token: str

    def ask(
        self, path: str, body: bytes | None = None, *, token: bool = False
    ) -> tuple[int, dict[str, str], str, str]:
        """Status, headers and body of the answer, and the id that the request was given."""
        given = f"req-{uuid.uuid4()}"
        headers = {"X-Openstack-Request-Id": given, "Content-Type": "application/json"}
        request = urllib.request.Request(
            self.url + path, body, {**headers, **({"X-Auth-Token": self.token} if token else {})}
        )
        context = create_default_context(cafile=str(self.cloud.authority))
        try:
            with urllib.request.urlopen(request, timeout=MINUTES, context=context) as answer:
                status, told, text = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, told, text = error.code, error.headers, error.read()
        return status, {name.lower(): value for name, value in told.items()}, text.decode(), given


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> Client:
    auth = yaml.safe_load(cloud.stack.workspace.clouds.read_text())["clouds"]["jarvis"]["auth"]
    token = json.loads(cloud.tool(*OPENSTACK, "token", "issue", "-f", "json").stdout)["id"]
    return Client(cloud, str(auth["auth_url"]).rstrip("/"), token)


def _login(name: str) -> bytes:
    """A login by a user's ``name``, which is JSON."""
    user = {"name": "NAME", "password": "x", "domain": {"name": "Default"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    return json.dumps(body).replace('"NAME"', name).encode()


REQUESTS: dict[str, tuple[Callable[[Client], tuple[int, dict[str, str], str, str]], int]] = {
    "a name of four bytes": (lambda c: c.ask("/auth/tokens", _login(json.dumps(PENGUIN))), 401),
    "a lone surrogate": (lambda c: c.ask("/auth/tokens", _login(r'"\ud83d"')), 500),
    "3000 brackets": (lambda c: c.ask("/auth/tokens", b"[" * 3000 + b"]" * 3000), 500),
    "a limit that is no number": (lambda c: c.ask("/users?limit=abc", token=True), 500),
    "a user of four bytes": (lambda c: c.ask(f"/users/{QUOTED}", token=True), 404),
    "no JSON": (lambda c: c.ask("/auth/tokens", b"{"), 400),
    "no token": (lambda c: c.ask("/users"), 401),
}


def _lines(cloud: Cloud, command: str) -> Iterator[str]:
    for _, text in cloud.each(command):
        yield from text.splitlines()


@pytest.mark.parametrize("name", REQUESTS)
def test_each_request_has_one_answer_one_run_and_one_line(client: Client, name: str) -> None:
    ask, expected = REQUESTS[name]
    status, headers, text, given = ask(client)
    assert status == expected
    assert headers["content-type"] == "application/json"
    error = json.loads(text)["error"]
    assert error["code"] == status
    assert headers["x-request-id"] == given
    own = headers["x-openstack-request-id"]
    assert ID.fullmatch(own)
    if status == 500:
        assert error["request_id"] == own
    access: list[dict[str, Any]] = [
        json.loads(line.split(" ", 3)[3]) for line in _lines(client.cloud, GATEWAY % given)
    ]
    assert [(line["status"], line["retries"]) for line in access] == [(status, "0")]
    # A run is told of under one id of its own; one that needs no word has none.
    runs = {found for line in _lines(client.cloud, SERVICES % given) for found in OWN_ID.findall(line)}
    assert runs <= {own}
    if status == 500:
        assert runs == {own}


def test_names_of_four_bytes_are_kept(cloud: Cloud) -> None:
    cloud.tool(*OPENSTACK, "project", "create", PENGUIN)
    try:
        assert (
            json.loads(cloud.tool(*OPENSTACK, "project", "show", PENGUIN, "-f", "json").stdout)["name"]
            == PENGUIN
        )
    finally:
        cloud.tool(*OPENSTACK, "project", "delete", PENGUIN)


def test_all_text_of_the_database_is_whole(cloud: Cloud) -> None:
    for server, text in cloud.each(TEXT_COLUMNS):
        assert sorted(text.split()) == ["glance", "keystone", "utf8mb4", "utf8mb4"], server


def test_definitions_of_image_properties_are_there(cloud: Cloud) -> None:
    words = ("image", "metadef", "resource", "type", "list", "-f", "json")
    assert len(json.loads(cloud.tool(*OPENSTACK, *words).stdout)) > 0


def test_without_a_majority_of_the_database_clients_are_told_to_come_back(client: Client) -> None:
    """Two of three members are stopped; the third runs, and takes no writes."""
    cloud = client.cloud
    stopped = cloud.servers[1:]
    try:
        for server in stopped:
            cloud.ssh(server, "systemctl kill --signal=SIGKILL mariadb; systemctl stop mariadb")
        seen: list[tuple[int, dict[str, str], str, str]] = []

        def told() -> bool:
            seen.append(client.ask("/auth/tokens", _login('"nobody"')))
            return seen[-1][0] == 503

        wait_until("503", told, 2 * MINUTES)
        _, headers, text, given = client.ask("/auth/tokens", _login('"nobody"'))
        assert int(headers["retry-after"]) > 0
        assert json.loads(text)["error"]["code"] == 503
        assert headers["x-request-id"] == given
    finally:
        for server in stopped:
            cloud.ssh(server, "systemctl start --no-block mariadb")
        wait_until("all members are in step", lambda: in_step(cloud), 5 * MINUTES)
    wait_until("401", lambda: client.ask("/auth/tokens", _login('"nobody"'))[0] == 401, 2 * MINUTES)
