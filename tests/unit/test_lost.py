"""A server that is gone for good: nothing is asked of it, nobody hears it, and no member restarts for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import ConfigurationError, Environment, ServerRole, parse_environment
from jarvis.config.rotations import held, secret_names
from jarvis.hosts.firewall import ruleset
from jarvis.kubernetes.forget import Api
from jarvis.kubernetes.lost import authorization
from stacks.cloud import build
from tests.golden.test_golden import artifacts, environment_of
from tests.unit.harness import Graph, Registered, record
from tests.unit.test_ceph import CLEAN, Server
from tests.unit.test_etcd_script import PEERS, Cluster

REMOTE = "command:remote:Command"
GONE = "jarvis-2"


def lose(env: Environment, *names: str) -> Environment:
    """``env`` without the servers ``names``."""
    servers = [one.model_copy(update={"lost": True}) if one.name in names else one for one in env.servers]
    return env.model_copy(update={"servers": servers})


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment_of("dev", tmp_path_factory.mktemp("project"))


def graph_of(env: Environment) -> Graph:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        return record(lambda: build(env, artifacts()))


@pytest.fixture(scope="module")
def whole(env: Environment) -> Graph:
    return graph_of(env)


@pytest.fixture(scope="module", params=["jarvis-1", "jarvis-2", "jarvis-3"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def left(env: Environment, name: str) -> Graph:
    return graph_of(lose(env, name))


def address(env: Environment, name: str) -> str:
    return next(str(one.address) for one in env.servers if one.name == name)


def test_nothing_is_asked_of_a_lost_server(env: Environment, left: Graph, name: str) -> None:
    remote = [one for one in left.resources.values() if one.kind.startswith("command:remote:")]
    assert remote
    for one in remote:
        assert one.inputs["connection"]["host"] != address(env, name), one.name
        assert one.deleted_with != f"jarvis:hosts:Host {name}", one.name
    assert f"jarvis:hosts:Host {name}" not in left.resources


def test_what_would_empty_it_is_kept_in_its_place_and_led_to_another(
    env: Environment, whole: Graph, left: Graph, name: str
) -> None:
    label = f"{REMOTE} {name}-apply"
    before, after = whole.resources[label], left.resources[label]
    assert types(whole, before) == types(left, after)
    assert before.inputs["delete"]
    assert "delete" not in after.inputs
    assert after.inputs["connection"]["host"] != address(env, name)


def types(graph: Graph, one: Registered) -> list[str]:
    """The types of all that a resource is below of, which its URN has."""
    found = [one.kind]
    while one.parent in graph.resources:
        one = graph.resources[one.parent]
        found.append(one.kind)
    return found


def test_all_others_that_go_end_with_it(whole: Graph, left: Graph, name: str) -> None:
    """What is deleted and would run a command somewhere ends with the server's own component instead."""
    gone = [one for label, one in whole.resources.items() if label not in left.resources]
    assert gone
    for one in gone:
        if one.kind == REMOTE and one.inputs.get("delete"):
            assert one.deleted_with == f"jarvis:hosts:Host {name}", one.name


# What keeps data, and is not restarted while one of it is missing.
STATEFUL = ("etcd-{}", "database-{}", "queue-{}", "storage-{}-mon", "storage-{}-osd", "database-{}-agent")


def restarts(one: Registered) -> list[str]:
    """The lines of a role that its units depend on (apply.sh, digest)."""
    orders = ("before ", "gate ", "after ", "undo ", "timeout ", "purge ")
    return [line for line in one.inputs["create"].splitlines() if not line.startswith(orders)]


def test_no_member_of_the_others_is_restarted(env: Environment, whole: Graph, left: Graph, name: str) -> None:
    for server in env.servers:
        if server.name != name:
            for role in STATEFUL:
                label = f"{REMOTE} {role.format(server.name)}"
                assert restarts(whole.resources[label]) == restarts(left.resources[label]), label


def test_the_others_take_it_out_of_their_clusters(env: Environment, left: Graph, name: str) -> None:
    for server in env.servers:
        if server.name == name:
            continue
        etcd = left.resources[f"{REMOTE} etcd-{server.name}"].inputs["create"].splitlines()
        assert f"after /var/lib/jarvis/bin/etcd-member drop https://{address(env, name)}:2380" in etcd
        osd = left.resources[f"{REMOTE} storage-{server.name}-osd"].inputs["create"].splitlines()
        assert f"after /var/lib/jarvis/bin/ceph-member drop {name}" in osd
        queue = left.resources[f"{REMOTE} queue-{server.name}"].inputs["create"].splitlines()
        (settle,) = [line for line in queue if " settle " in line]
        assert name not in settle
        base = left.resources[f"{REMOTE} {server.name}-base"].inputs["create"]
        assert f"/var/lib/jarvis/lost\n|{name}\n" in base


def test_no_object_waits_for_its_node(left: Graph, name: str) -> None:
    forgotten = "command:local:Command kubernetes-lost"
    for label in left.resources:
        if label.startswith("kubernetes:"):
            assert forgotten in left.before(label), label
    request = json.loads(left.resources[forgotten].inputs["stdin"])
    assert request["nodes"] == [name]
    assert left.resources[forgotten].secrets == {"stdin"}
    # By then every API server that is left refuses its kubelet.
    servers = [f"{REMOTE} {each}-control-plane-apiserver" for each in ("jarvis-1", "jarvis-2", "jarvis-3")]
    assert {each for each in servers if name not in each} <= left.before(forgotten)
    for each in servers:
        if name not in each:
            text = left.resources[each].inputs["create"]
            assert f"system:node:{name}" in text
            assert "--authorization-mode" not in text


def test_without_a_lost_server_the_api_server_judges_as_before(whole: Graph) -> None:
    text = whole.resources[f"{REMOTE} jarvis-1-control-plane-apiserver"].inputs["create"]
    assert "--authorization-mode=Node,RBAC" in text
    assert "authorization-config" not in text


def test_the_kubelets_of_lost_servers_are_asked_about_where_nobody_answers() -> None:
    first, *rest = json.loads(authorization(["a", "b"], "/nobody"))["authorizers"]
    assert first["webhook"]["failurePolicy"] == "Deny"
    assert first["webhook"]["matchConditions"] == [
        {"expression": 'request.user in ["system:node:a", "system:node:b"]'}
    ]
    assert [(one["type"], one["name"]) for one in rest] == [("Node", "node"), ("RBAC", "rbac")]


def test_all_that_comes_from_it_is_dropped_before_anything_else(env: Environment) -> None:
    rules = ruleset(lose(env, GONE), env.servers[0]).splitlines()
    chains = [at for at, line in enumerate(rules) if "type filter hook" in line]
    assert len(chains) == 2
    sources = f"{address(env, GONE)}, {env.pod_subnet(env.servers[1])}"
    for at in chains:
        assert rules[at + 1].strip() == f'ip saddr {{ {sources} }} drop comment "{GONE} is lost"'
    assert "is lost" not in ruleset(env, env.servers[0])


def test_what_a_stolen_server_holds_is_told_by_the_counters_that_end_it(env: Environment) -> None:
    assert held(env, [ServerRole.WORKER]) == ["kubernetes-ca", "registry-authority"]
    assert set(held(env, ServerRole)) <= set(secret_names(env))
    assert not held(env, [])


def test_servers_keep_their_pod_networks(env: Environment) -> None:
    assert lose(env, "jarvis-1").pod_subnet(env.servers[2]) == env.pod_subnet(env.servers[2])
    assert lose(env, "jarvis-1").copies == env.copies


def test_a_majority_must_be_left(env: Environment) -> None:
    values = env.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    for server in values["servers"]:
        server.pop("host_key", None)
    values["servers"][0]["lost"] = True
    assert [one.name for one in parse_environment(values, "a test").lost] == ["jarvis-1"]
    values["servers"][1]["lost"] = True
    with pytest.raises(ConfigurationError, match="1 of 3 servers with the role etcd are left"):
        parse_environment(values, "a test")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    for one in made.sockets:
        one.close()


def test_a_lost_member_of_etcd_is_taken_out_once(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    for _ in range(2):
        run = cluster.run("drop", PEERS[2])
        assert run.returncode == 0, run.stderr
    assert [one["name"] for one in cluster.get("members")] == ["a", "b"]
    assert cluster.get("calls").count("member remove id-c") == 1


def test_a_lost_member_that_stays_is_told(cluster: Cluster) -> None:
    cluster.running(0, 1, 2)
    cluster.set(refuse={"member remove": ["Error: etcdserver: unhealthy cluster"] * 9})
    run = cluster.run("drop", PEERS[2])
    assert run.returncode == 1
    assert "unhealthy cluster" in run.stderr


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server b of a storage of a, b and c, of which c is lost."""
    server = Server(tmp_path, monkeypatch)
    (tmp_path / "var/lib/jarvis").mkdir(parents=True)
    (tmp_path / "var/lib/jarvis/lost").write_text("c\n")
    return server


def test_what_ceph_had_on_a_lost_server_is_forgotten(storage: Server) -> None:
    tree = json.dumps(
        {
            "nodes": [
                {"type": "host", "name": "b", "children": [1]},
                {"type": "host", "name": "c", "children": [2]},
            ]
        }
    )
    mons = json.dumps({"mons": [{"name": "b"}, {"name": "c"}]})
    storage.commands.add(
        "ceph", f"case \"$*\" in *'osd tree'*) echo '{tree}';; *'mon dump'*) echo '{mons}';; esac"
    )
    storage.tool.main(["drop", "c"])
    calls = "\n".join(storage.commands.calls("ceph"))
    for order in (
        "mon remove c",
        "osd crush rm osd.2",
        "auth rm osd.2",
        "osd rm 2",
        "osd crush rm c",
        "auth rm mgr.c",
    ):
        assert order in calls
    assert "osd.1" not in calls
    with pytest.raises(SystemExit):
        storage.tool.main(["drop", "a"])


def test_ceph_is_whole_with_what_is_left(storage: Server) -> None:
    two: dict[str, Any] = {"num_osds": 2, "num_up_osds": 2, "num_in_osds": 2}
    states = [{"state_name": "active+undersized+degraded", "count": 33}]
    status = CLEAN | {"quorum_names": ["a", "b"], "osdmap": two, "pgmap": {"pgs_by_state": states}}
    storage.tool.whole(status)
    for state in (
        "active+undersized+degraded+remapped+backfilling",
        "undersized+peered",
        "active+recovering",
    ):
        wrong = status | {"pgmap": {"pgs_by_state": [{"state_name": state, "count": 1}]}}
        with pytest.raises(storage.tool.Problem):
            storage.tool.whole(wrong)


def test_a_node_is_removed_with_its_pods_whether_or_not_it_is_there() -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked.append(f"{self.command} {self.path}")
            pods = {"items": [{"metadata": {"namespace": "n", "name": "p"}}]}
            self.send_response(404 if "/nodes/" in self.path else 200)
            self.end_headers()
            self.wfile.write(json.dumps(pods).encode())

        do_GET = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        Api(f"http://127.0.0.1:{server.server_port}", None).forget("c")
    finally:
        server.shutdown()
        server.server_close()
    assert asked == [
        "DELETE /api/v1/nodes/c",
        "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dc",
        "DELETE /api/v1/namespaces/n/pods/p",
    ]
