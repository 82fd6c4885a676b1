"""What cannot be deployed ends with one clear error, and changes nothing on any server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deployment import ROOT, Cloud, Stack
from refusals import no_host_was_begun, one_error, refused

MakeStack = Callable[..., Stack]


@pytest.fixture(scope="module", autouse=True)
def _untouched(bare: Cloud) -> Iterator[None]:
    """The servers are bare before and after."""
    command = "ls -d /var/lib/jarvis /etc/etcd /etc/kubernetes /var/lib/extensions/* 2>/dev/null; true"
    assert dict(bare.each(command)) == dict.fromkeys(bare.servers, "")
    yield
    assert dict(bare.each(command)) == dict.fromkeys(bare.servers, "")


def test_servers_that_do_not_answer_yet_are_waited_for(long_refusals: object) -> None:
    """These take minutes, beside the deployment: test_5_late_refusals.py has their end."""
    assert long_refusals


def test_mistakes_of_the_configuration_come_all_at_once(make_stack: MakeStack) -> None:
    stack = make_stack("test-mistakes", networks={"pods": "10.89.0.0/16"}, etcd={"colour": "blue"})
    run = refused(stack)
    one_error(run, "etcd.colour", "nothing has been changed")
    assert not [one for one in stack.state() if not one["type"].startswith("pulumi:")]


def test_a_corrupt_release_is_not_sent(make_stack: MakeStack, tmp_path: Path) -> None:
    artifacts = json.loads((ROOT / ".jarvis" / "artifacts.json").read_text())
    broken = tmp_path / "release.raw"
    with Path(artifacts["release"]["path"]).open("rb") as stream:
        broken.write_bytes(stream.read(1 << 20))
    artifacts["release"]["path"] = str(broken)
    listed = tmp_path / "artifacts.json"
    listed.write_text(json.dumps(artifacts))
    stack = make_stack("test-corrupt", {"JARVIS_ARTIFACTS": str(listed)})
    one_error(refused(stack), "release is corrupt", str(broken), "make artifacts")
    assert not [one for one in stack.state() if not one["type"].startswith("pulumi:")]


def test_a_missing_image_is_named(make_stack: MakeStack, tmp_path: Path) -> None:
    artifacts = json.loads((ROOT / ".jarvis" / "artifacts.json").read_text())
    artifacts["images"]["keystone"]["path"] = str(tmp_path / "gone")
    listed = tmp_path / "artifacts.json"
    listed.write_text(json.dumps(artifacts))
    stack = make_stack("test-missing", {"JARVIS_ARTIFACTS": str(listed)})
    one_error(refused(stack), "keystone is missing", "make artifacts")


def test_a_wrong_host_key_is_not_trusted(make_stack: MakeStack, bare: Cloud, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    servers = [dict(server) for server in bare.stack.environment["servers"]]
    del servers[1]["host_key_file"]
    servers[1]["host_key"] = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    stack = make_stack("test-host-key")
    stack.configure({**stack.environment, "servers": servers})
    one_error(refused(stack), servers[1]["address"], "host key")
    no_host_was_begun(stack)


def test_a_server_that_is_not_fit_says_all_that_it_lacks(make_stack: MakeStack, bare: Cloud) -> None:
    stack = make_stack("test-preflight", preflight={"min_cores": 1000, "min_disk_gib": 100_000})
    run = refused(stack)
    errors = [text for text in run.errors() if "is not fit" in text]
    assert errors
    for text in errors:
        assert "1000 are needed (preflight.min_cores)" in text
        assert "100000 GiB are needed (preflight.min_disk_gib)" in text
    no_host_was_begun(stack)
