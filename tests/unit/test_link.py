"""Links: what HAProxy is told, by HAProxy's own check, and what a pod finds behind a name."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pulumi_kubernetes as kubernetes
import pytest

from jarvis.core.component import Component
from jarvis.remote import Target
from jarvis.stateful.link import (
    Check,
    Link,
    LinkArgs,
    LinkedService,
    LinkMember,
    LinkProxies,
    LinkProxiesArgs,
    http,
    tcp,
    tls,
)
from jarvis.stateful.link.service import fragment
from tests.unit.fakes import JARVIS, Commands
from tests.unit.harness import Graph, record
from tests.unit.test_hosts_clock import environment

COMMON = JARVIS / "stateful/link/common.cfg"

MEMBERS = [LinkMember(name=f"s{at}", address=f"192.0.2.{at}") for at in (1, 2, 3)]


def _service(*, check: Check | None = None, one_writer: bool = False, **changed: Any) -> LinkedService:
    values: dict[str, Any] = {"name": "database", "port": 3306, "members": MEMBERS, "member_port": 3307}
    return LinkedService(check=check or tcp(), one_writer=one_writer, **(values | changed))


def _servers(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.startswith("  server ")]


def test_one_writer_at_a_time() -> None:
    first, *rest = _servers(fragment(_service(one_writer=True)))
    assert first.startswith("server s1 192.0.2.1:3307 check ")
    assert "backup" not in first.split()
    assert first.endswith("on-marked-up shutdown-backup-sessions")
    assert [line.split()[1] for line in rest] == ["s2", "s3"]
    assert all(line.endswith(" backup") for line in rest)
    assert all("on-marked-down shutdown-sessions" in line for line in [first, *rest])


def test_a_silent_server_is_given_up_before_a_busy_agent() -> None:
    common = dict(re.findall(r"(?m)^  timeout (connect|check) (\d+)s$", COMMON.read_text()))
    assert int(common["connect"]) < int(common["check"])


def test_without_one_writer_all_serve() -> None:
    assert not any("backup" in line for line in _servers(fragment(_service())))


def test_health_is_asked_as_the_service_wants() -> None:
    text = fragment(_service(check=http(3308, "/ready")))
    assert all("check port 3308 " in line for line in _servers(text))
    assert "uri /ready " in text
    assert "http-check expect status 200" in text
    assert all("check check-ssl " in line for line in _servers(fragment(_service(check=tls()))))


def test_haproxy_takes_every_kind(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert haproxy, "haproxy is one of the Debian packages of toolchain/apt.txt"
    kinds = [
        _service(one_writer=True),
        _service(name="b", port=2, check=http(3308)),
        _service(name="c", port=3, check=tls()),
    ]
    config = tmp_path / "haproxy.cfg"
    config.write_text(COMMON.read_text() + "".join(map(fragment, kinds)))
    done = subprocess.run([haproxy, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "a b"}, "not the name of a link"),
        ({"members": []}, "no member"),
        ({"member_port": 3306}, "port 3306 is the proxy's"),
    ],
)
def test_a_link_that_cannot_work_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _service(**change)


def test_two_links_do_not_share_a_port() -> None:
    with pytest.raises(ValueError, match="two links have the port 3306"):
        LinkProxiesArgs(env=environment(), hosts=[], services=[_service(), _service(name="queue")])


class Server:
    """A server as ``link.sh`` sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.commands = Commands(root / "bin")
        self.fragments = root / "etc/jarvis/link.d"
        self.fragments.mkdir(parents=True)
        self.active = root / "var/lib/jarvis/link/haproxy.cfg"

    def write(self, name: str, text: str) -> None:
        (self.fragments / f"{name}.cfg").write_text(text)

    def accept(self) -> tuple[int, str]:
        done = self.commands.run("link/link.sh", "accept", root=self.root)
        return done.returncode, done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Server:
    made = Server(tmp_path)
    # Refuses what HAProxy's own check does refuse: a line that is no keyword.
    made.commands.add(
        "haproxy", 'if grep -q nonsense "${@: -1}"; then echo "unknown keyword" >&2; exit 1; fi'
    )
    made.write("00-common", COMMON.read_text())
    return made


def test_fragments_become_one_configuration(server: Server) -> None:
    server.write("database", fragment(_service()))
    assert server.accept() == (0, "")
    text = server.active.read_text()
    assert text.index("maxconn") < text.index("frontend database")
    assert text == "".join(path.read_text() for path in sorted(server.fragments.iterdir()))


def test_a_bad_fragment_changes_nothing(server: Server) -> None:
    server.write("database", fragment(_service()))
    server.accept()
    before = server.active.read_text()
    server.write("queue", "nonsense\n")
    status, error = server.accept()
    assert status == 1
    assert "refuses" in error
    assert "unknown keyword" in error
    assert len(error.splitlines()) == 1
    assert server.active.read_text() == before
    assert [path.name for path in server.active.parent.iterdir()] == ["haproxy.cfg"]


class Host(Component, token="test:Host"):
    """Stands for a server that is ready."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name)
        self.server = LinkMember(name=name, address=address)
        self.target = Target(server=name, host=address, host_key="ssh-ed25519 AAAA").ending_with(self)
        self.register_outputs({})


@pytest.fixture(scope="module")
def graph() -> Graph:
    def program() -> None:
        hosts: Any = [Host(member.name, member.address) for member in MEMBERS]
        links = LinkProxies("link", LinkProxiesArgs(env=environment(), hosts=hosts, services=[_service()]))
        Link(
            "database",
            LinkArgs(
                provider=kubernetes.Provider("cluster", kubeconfig="{}"),
                namespace="openstack",
                service=links.services[0],
                nodes=hosts[:2],
                after=links.ready,
            ),
        )

    return record(program)


def test_a_pod_is_led_to_the_proxy_of_its_own_server(graph: Graph) -> None:
    service = graph.resources["kubernetes:core/v1:Service database"].inputs
    assert service["spec"]["internalTrafficPolicy"] == "Local"
    assert "selector" not in service["spec"]
    endpoints = graph.resources["kubernetes:discovery.k8s.io/v1:EndpointSlice database"].inputs
    assert [(one["nodeName"], one["addresses"]) for one in endpoints["endpoints"]] == [
        ("s1", ["192.0.2.1"]),
        ("s2", ["192.0.2.2"]),
    ]
    assert [port["port"] for port in endpoints["ports"]] == [
        port["port"] for port in service["spec"]["ports"]
    ]


def test_a_name_comes_after_its_proxies(graph: Graph) -> None:
    depends = graph.resources["kubernetes:core/v1:Service database"].depends
    assert {f"command:remote:Command link-{member.name}" for member in MEMBERS} <= depends


def test_a_link_without_a_node_leads_nowhere() -> None:
    with pytest.raises(ValueError, match="no node"):
        LinkArgs(provider=None, namespace="x", service=_service(), nodes=[])  # type: ignore[arg-type]
