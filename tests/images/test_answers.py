"""What services answer from their images, under uWSGI, to requests that their own code does not take."""

from __future__ import annotations

import json
import re

from jarvis.openstack.configuration import value, variable
from jarvis.openstack.options import database_options
from jarvis.openstack.services.keystone import KEYSTONE
from tests.images.test_built import (
    LOGIN,
    Unpacked,
    ask,
    deployed,
    free_ports,
    keystone,
    serving,
)

__all__ = ["deployed", "keystone"]

ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JSON = {"Content-Type": "application/json"}
RETRIES = "database.max_retries"
LOG = "volume/data/keystone.log"
SCOPED = {"auth": {**LOGIN["auth"], "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}
# In JSON's own spelling: half of a pair, which is no text that UTF-8 could hold.
SURROGATE = json.dumps(LOGIN).replace('"admin"', r'"\ud83d"')


def test_each_request_gets_an_answer_with_an_id(keystone: Unpacked, deployed: dict[str, str]) -> None:
    """And was run once: the service's log has one line of each that it did not catch."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with serving(keystone, port, {**deployed, "OS_DEFAULT__LOG_FILE": f"/{LOG}"}) as server:
        _, issued = ask(server, f"{url}/v3/auth/tokens", JSON, json.dumps(SCOPED).encode())
        token = {"X-Auth-Token": issued["X-Subject-Token"]}
        answers = {
            "a lone surrogate": ask(server, f"{url}/v3/auth/tokens", JSON, SURROGATE.encode()),
            "3000 brackets": ask(server, f"{url}/v3/auth/tokens", JSON, b"[" * 3000 + b"]" * 3000),
            "no number": ask(server, f"{url}/v3/users?limit=abc", token),
            "no such user": ask(server, f"{url}/v3/users/%F0%9F%90%A7", token),
        }
    assert {name: status for name, (status, _) in answers.items()} == {
        "a lone surrogate": 500,
        "3000 brackets": 500,
        "no number": 500,
        "no such user": 404,
    }
    for name, (_, headers) in answers.items():
        assert ID.fullmatch(headers["X-Openstack-Request-Id"]), name
        assert headers["Content-Type"] == "application/json", name
    lines = (keystone.root / LOG).read_text().splitlines()
    for name, (status, headers) in answers.items():
        told = [line for line in lines if f"the service failed ({headers['X-Openstack-Request-Id']})" in line]
        assert len(told) == (status == 500), name


def test_without_its_database_keystone_says_when_to_come_back(
    keystone: Unpacked, deployed: dict[str, str]
) -> None:
    """At its very first request, too: it does not wait for the database while its client waits for it."""
    port, nobody = free_ports(2)
    database = {
        "OS_DATABASE__CONNECTION": f"mysql+pymysql://a:b@127.0.0.1:{nobody}/keystone",
        variable(RETRIES): value(database_options(KEYSTONE.databases[0])[RETRIES]),
    }
    with serving(keystone, port, {**deployed, **database}) as server:
        status, headers = ask(
            server, f"http://127.0.0.1:{port}/v3/auth/tokens", JSON, json.dumps(LOGIN).encode()
        )
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    assert ID.fullmatch(headers["X-Openstack-Request-Id"])
