"""Placement's image with the options that its definition gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jarvis.openstack.configuration import environment, rendered
from jarvis.openstack.option_list import read_option_list
from jarvis.openstack.options import plain_options
from jarvis.openstack.services.placement import PLACEMENT
from tests.golden.test_golden import environment_of
from tests.images.test_built import Unpacked, ask, free_ports, serving, unpack


@pytest.fixture(scope="module")
def placement(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    root = tmp_path_factory.mktemp("placement")
    root.chmod(0o755)
    return unpack("placement", root)


def test_it_migrates_its_database_and_serves_and_takes_no_token_that_it_cannot_check(
    placement: Unpacked, tmp_path: Path
) -> None:
    env = environment_of("dev", tmp_path)
    known = read_option_list("placement", str(placement.layout))
    options = plain_options(PLACEMENT, "api", env, known)
    placement.writable("volume")
    port, nobody = free_ports(2)
    local = {
        "placement_database.connection": "sqlite:////volume/placement.db",
        "keystone_authtoken.auth_url": f"http://127.0.0.1:{nobody}/v3",
        "keystone_authtoken.password": "abc",
    }
    variables = {**rendered(options).variables, **environment(local)}
    [migration] = PLACEMENT.migrations
    # The second time there is nothing to do.
    for _ in range(2):
        placement.run(*migration.expand, **variables)
        placement.run(*migration.fill, **variables)
    with serving(placement, port, variables) as server:

        def status(path: str, **headers: str) -> int:
            return ask(server, f"http://127.0.0.1:{port}{path}", headers)[0]

        assert status(next(PLACEMENT.webs())[1].health) == 200
        assert status("/resource_providers") == 401
        assert status("/resource_providers", **{"X-Auth-Token": "abc"}) == 503
