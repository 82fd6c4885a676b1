"""The folder of a stack, as its tools find it, and whether its cloud serves."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from jarvis.openstack.clouds import clouds_yaml
from toolchain.workspace.model import Workspace
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


def test_a_cloud_that_serves_is_not_waited_for(clouds: Path) -> None:
    Cloud.statuses = [201, 300]
    said: list[str] = []
    wait_until_served(clouds, said.append)
    assert said == []


def test_a_cloud_that_stays_away_is_an_error_with_the_next_command(clouds: Path) -> None:
    Cloud.statuses = [503]
    with pytest.raises(StackError, match=r"tokens: status 503.*kubectl get pods"):
        wait_until_served(clouds, lambda _: None, patience=0, pause=0)
