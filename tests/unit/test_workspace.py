"""The folder of a stack, as its tools find it, and whether its cloud serves."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from jarvis.config.network import Networks
from jarvis.openstack.clouds import clouds_yaml
from toolchain.workspace.model import Workspace, direct
from toolchain.workspace.serving import wait_until_served
from toolchain.workspace.stack import StackError


def workspace(folder: Path) -> Workspace:
    return Workspace(stack="trial", state=folder / ".jarvis", root=folder)


def test_a_new_workspace_is_its_owners_alone_and_keeps_no_debug_logs(tmp_path: Path) -> None:
    own = workspace(tmp_path)
    own.prepare()
    assert own.folder.stat().st_mode & 0o777 == 0o700
    assert (own.folder / "passphrase").stat().st_mode & 0o777 == 0o600
    # The CLI makes a folder of this name and writes there, unless it cannot.
    assert (own.state / "pulumi" / "logs").is_file()


def test_logs_that_are_there_are_left_alone(tmp_path: Path) -> None:
    own = workspace(tmp_path)
    logs = own.state / "pulumi" / "logs"
    logs.mkdir(parents=True)
    (logs / "one.log").touch()
    own.prepare()
    own.prepare()
    assert [path.name for path in logs.iterdir()] == ["one.log"]


class Cloud(http.server.BaseHTTPRequestHandler):
    """Answers as told: a status for each request, the last one for all that follow."""

    statuses: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        status = self.statuses[0]
        if len(self.statuses) > 1:
            self.statuses.pop(0)
        self.send_response(status)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Path]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        path = tmp_path / "clouds.yaml"
        path.write_text(
            clouds_yaml(
                cloud="jarvis",
                url=f"{url}/v3",
                region="one",
                username="admin",
                password="abc",
                project="admin",
                authority_file="/etc/ssl/certs/ca-certificates.crt",
                endpoints={"image": f"{url}/image"},
            )
        )
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_a_cloud_that_comes_back_is_waited_for_and_that_is_said_once(clouds: Path) -> None:
    Cloud.statuses = [503, 503, 201, 502, 201, 300]
    said: list[str] = []
    wait_until_served(clouds, said.append, pause=0)
    assert ["tokens: status 503" in said[0], "image: status 502" in said[1], len(said)] == [True, True, 2]


def test_a_cloud_is_asked_by_no_proxy(clouds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cloud.statuses = [201, 300]
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    wait_until_served(clouds, lambda _: None, patience=0, pause=0)


def test_a_cloud_that_serves_is_not_waited_for(clouds: Path) -> None:
    Cloud.statuses = [201, 300]
    said: list[str] = []
    wait_until_served(clouds, said.append)
    assert said == []


def test_a_cloud_that_stays_away_is_an_error_with_the_next_command(clouds: Path) -> None:
    Cloud.statuses = [503]
    with pytest.raises(StackError, match=r"tokens: status 503.*kubectl get pods"):
        wait_until_served(clouds, lambda _: None, patience=0, pause=0)


# --- the operator's shell ---

STACK = """
config:
  jarvis:environment:
    networks: {management: 192.0.2.0/24, virtual_address: 192.0.2.100, domain: cloud.example.org}
    servers: [{name: a, address: 192.0.2.11}, {name: b, address: 192.0.2.12}]
"""
DIRECT = "192.0.2.0/24,192.0.2.100,.cloud.example.org,192.0.2.11,192.0.2.12"
LOOPBACK = "localhost,127.0.0.1,127.0.0.0/8,::1"


def sourced(own: Workspace, environment: dict[str, str], times: int = 1) -> dict[str, str]:
    """The environment of a shell that has read the file of ``own``."""
    line = '. "$0"; ' * times + "env -0"
    run = subprocess.run(
        ["sh", "-euc", line, str(own.env_file)], env=environment, capture_output=True, text=True, check=True
    )
    return dict(one.split("=", 1) for one in run.stdout.split("\0") if one)


@pytest.fixture
def checkout(tmp_path: Path) -> Workspace:
    """One in a folder with blanks, with a stack of two servers."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    (folder / "Pulumi.production.yaml").write_text(STACK)
    own = workspace(folder)
    own.prepare()
    return own


def test_a_shell_in_a_folder_with_blanks_has_the_tools_first_and_once(checkout: Workspace) -> None:
    found = sourced(checkout, {"PATH": "/usr/bin:/bin"}, times=2)
    tools = f"{checkout.root}/.venv/bin:{checkout.root}/.jarvis/bin"
    assert found["PATH"] == f"{tools}:/usr/bin:/bin"
    for name, value in checkout.variables().items():
        assert name == "PATH" or found[name] == value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ""),
        ({"NO_PROXY": "intra.example.org"}, "intra.example.org,"),
        ({"no_proxy": "intra.example.org"}, "intra.example.org,"),
    ],
)
def test_loopback_and_the_servers_of_a_stack_go_by_no_proxy(
    checkout: Workspace, before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HTTPS_PROXY": "http://192.0.2.200:3128", **before}
    found = sourced(checkout, environment, times=2)
    assert found["NO_PROXY"] == found["no_proxy"] == f"{after}{LOOPBACK},{DIRECT}"
    assert found["HTTPS_PROXY"] == "http://192.0.2.200:3128"
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    # `make up` has the same, without a shell that has read the file.
    assert checkout.environment()["no_proxy"] == checkout.environment()["NO_PROXY"] == found["NO_PROXY"]


def test_a_configuration_that_is_wrong_keeps_nobody_from_working(tmp_path: Path) -> None:
    for name, text in {"a": "config: [", "b": "config: {}", "c": STACK, "d": "- x"}.items():
        (tmp_path / f"Pulumi.{name}.yaml").write_text(text)
    assert ",".join(workspace(tmp_path).direct()) == f"{LOOPBACK},{DIRECT}"
    assert direct([tmp_path / "none.yaml"]) == LOOPBACK.split(",")


def test_the_lab_goes_by_no_proxy_and_the_default_domain_is_the_configurations() -> None:
    found = Workspace().direct()
    assert {"10.88.0.0/24", "10.88.0.100", "10.88.0.11", ".jarvis.internal"} <= set(found)
    assert Networks.model_fields["domain"].default == "jarvis.internal"
