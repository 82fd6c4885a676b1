"""The registry and the images in it: what waits for what, what is secret, and what a change touches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jarvis.config import Environment, parse_environment
from jarvis.config.artifacts import Image
from jarvis.core.component import Component
from jarvis.images import PublishedImages, PublishedImagesArgs, Registry, RegistryArgs
from jarvis.images.registry import registry_config
from jarvis.remote import LocalCheck, LocalCheckArgs, Target
from tests.unit.harness import PRIVATE, Graph, differing, record

SERVERS = ("one", "two", "three")
DIGEST = f"sha256:{'1' * 64}"


class Host(Component, token="test:Host"):
    """Stands for a server that is ready."""

    def __init__(self, env: Environment, number: int) -> None:
        self.server = env.servers[number]
        super().__init__(self.server.name)
        self.target = Target(
            server=self.server.name, host=str(self.server.address), host_key="ssh-ed25519 AAAA"
        ).ending_with(self)
        self.release = "release"
        LocalCheck(f"{self.server.name}-ready", LocalCheckArgs(command="true"), self.child())
        self.register_outputs({})


def _environment(**more: Any) -> Environment:
    roles = ["etcd", "control-plane", "worker", "registry", "gateway"]
    return parse_environment(
        {
            "name": "test",
            "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
            "servers": [
                {
                    "name": name,
                    "address": f"192.0.2.{number + 1}",
                    "host_key": "ssh-ed25519 AAAA",
                    "roles": [*roles, "database", "queue", "storage"] if number == 0 else roles,
                }
                for number, name in enumerate(SERVERS)
            ],
            **more,
        },
        "test",
    )


def _graph(digest: str = DIGEST, path: str = "/cache/a", **more: Any) -> tuple[Graph, list[str]]:
    references: list[str] = []

    def program() -> None:
        env = _environment(**more)
        hosts = [Host(env, number) for number in range(len(SERVERS))]
        registry = Registry("registry", RegistryArgs(hosts=hosts, env=env))  # type: ignore[arg-type]
        images = {"keystone": Image(path=path, digest=digest, recipe="r")}
        published = PublishedImages("images", PublishedImagesArgs(images=images, registry=registry))
        references.append(published.reference("keystone"))

    return record(program), references


@pytest.fixture(scope="module")
def graph() -> Graph:
    return _graph()[0]


@pytest.mark.parametrize("server", SERVERS)
def test_images_are_pushed_once_the_servers_registry_is_at_work(graph: Graph, server: str) -> None:
    check = graph.resources[f"command:local:Command images-{server}"]
    service = f"command:remote:Command registry-{server}"
    assert service in check.depends
    others = {f"command:remote:Command registry-{each}" for each in SERVERS if each != server}
    assert not others & check.depends, "servers are filled side by side"
    waits = graph.resources[f"command:remote:Command registry-{server}"].depends
    assert f"command:local:Command {server}-ready" in waits
    assert graph.resources[service].deleted_with == f"jarvis:test:Host {server}"


@pytest.mark.parametrize("server", SERVERS)
def test_keys_travel_by_stdin_and_are_secret(graph: Graph, server: str) -> None:
    for label in (f"command:local:Command images-{server}", f"command:remote:Command registry-{server}"):
        one = graph.resources[label]
        assert "stdin" in one.secrets
        assert PRIVATE in str(one.inputs["stdin"])
        assert PRIVATE not in str({key: value for key, value in one.inputs.items() if key != "stdin"})


def test_a_reference_names_the_digest_and_no_server() -> None:
    assert _graph()[1] == [f"registry.jarvis.internal/keystone@{DIGEST}"]


def test_an_image_that_was_built_elsewhere_with_the_same_digest_is_no_change(graph: Graph) -> None:
    assert differing(graph, _graph(path="/other/b")[0]) == set()


def test_another_digest_is_pushed_to_every_server_and_restarts_no_registry(graph: Graph) -> None:
    expected = {f"command:local:Command images-{server}" for server in SERVERS}
    assert differing(graph, _graph(digest=f"sha256:{'2' * 64}")[0]) == expected


def test_rotating_one_servers_certificate_touches_that_registry_alone(graph: Graph) -> None:
    # The generator of the certificate, and the registry to which goes what it makes.
    assert differing(graph, _graph(rotations={"registry-two": 1})[0]) == {
        "command:local:Command registry-two",
        "command:remote:Command registry-two",
    }
    assert PRIVATE + "registry-two" in str(
        graph.resources["command:remote:Command registry-two"].inputs["stdin"]
    )


def test_the_configuration_asks_for_a_certificate() -> None:
    text = registry_config("192.0.2.1", 5000)
    assert "addr: 192.0.2.1:5000" in text
    assert "clientcas:\n      - /etc/registry/authority.crt" in text
    assert "{" not in text, "every value is filled in"
    assert "delete" not in text


def test_a_request_to_push_has_no_path_of_this_machine(graph: Graph) -> None:
    stdin = graph.resources["command:local:Command images-one"].inputs["stdin"]
    request = json.loads(stdin["value"] if isinstance(stdin, dict) else stdin)
    assert request["images"] == {"keystone": DIGEST}
    assert request["endpoint"] == "192.0.2.1:5000"
    assert "/cache/a" not in json.dumps(request)
