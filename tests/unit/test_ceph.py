"""What Ceph is told, what waits for what, and how ceph-member makes and keeps a server's daemons."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jarvis.config.server import Osd
from jarvis.host.ceph import member
from jarvis.stateful.ceph import PoolArgs, text
from tests.golden.test_golden import graph_of
from tests.unit.fakes import Commands
from tests.unit.harness import Graph

MONS = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
CLEAN: dict[str, Any] = {
    "quorum_names": ["a", "b", "c"],
    "mgrmap": {"available": True},
    "osdmap": {"num_osds": 3, "num_up_osds": 3, "num_in_osds": 3},
    "pgmap": {"pgs_by_state": [{"state_name": "active+clean", "count": 33}]},
}


def conf(**changes: Any) -> dict[str, dict[str, str]]:
    values: dict[str, Any] = {
        "unique": "u",
        "name": "b",
        "mons": MONS,
        "copies": 3,
        "osd": Osd(),
        "memory_mib": 900,
        "options": {},
    }
    found: dict[str, dict[str, str]] = {}
    for line in text.server_conf(**(values | changes)).splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif " = " in line:
            key, value = line.split(" = ", 1)
            section[key] = value
    return found


def test_all_that_ceph_says_is_encrypted() -> None:
    common = conf()["global"]
    modes = {key: value for key, value in common.items() if key.endswith("_mode")}
    assert len(modes) == 6
    assert set(modes.values()) == {"secure"}
    assert common["ms_bind_msgr1"] == "false"
    assert "ms_client_mode = secure" in text.client_conf("u", MONS)


def test_an_operators_option_of_ceph_wins_and_is_one_line() -> None:
    assert conf(options={"osd_pool_default_size": 2})["global"]["osd_pool_default_size"] == "2"
    with pytest.raises(ValueError, match=r"storage\.options"):
        conf(options={"x": "1\n[mon]"})


def test_an_osd_is_on_its_own_file_or_device() -> None:
    assert conf(osd=Osd(path="/var/x", size_gib=4))["osd"]["bluestore_block_size"] == str(4 * 2**30)
    device = conf(osd=Osd(device="/dev/disk/by-id/x"))["osd"]
    assert (device["bluestore_block_path"], device["bluestore_block_size"]) == ("/dev/disk/by-id/x", "0")


@pytest.mark.parametrize(("copies", "least"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)])
def test_how_many_copies_suffice(copies: int, least: int) -> None:
    assert text.least(copies) == least


def test_a_client_may_use_its_pools_alone() -> None:
    assert text.rbd_caps(["images"]) == {
        "mon": "profile rbd",
        "osd": "profile rbd pool=images",
        "mgr": "profile rbd pool=images",
    }
    with pytest.raises(ValueError, match="needs a pool"):
        text.rbd_caps([])


def test_the_same_randomness_is_the_same_key() -> None:
    random = base64.b64encode(bytes(range(32))).decode()
    key = text.cephx_key(random)
    assert key == text.cephx_key(random)
    assert base64.b64decode(key)[-16:] == bytes(range(16))
    assert text.fsid(random) != text.fsid(base64.b64encode(bytes(32)).decode())
    with pytest.raises(ValueError, match="16 random bytes"):
        text.cephx_key(base64.b64encode(b"short").decode())


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        return graph_of("dev", tmp_path_factory.mktemp("project"))


def command(name: str) -> str:
    return f"command:remote:Command {name}"


def test_osds_wait_for_all_monitors_and_monitors_for_each_other(graph: Graph) -> None:
    mons, osds = ([command(f"storage-jarvis-{n}-{kind}") for n in (1, 2, 3)] for kind in ("mon", "osd"))
    for kind in (mons, osds):
        for before, after in itertools.pairwise(kind):
            assert before in graph.before(after)
            assert after not in graph.before(before)
    assert set(mons) <= graph.before(osds[0])
    assert set(osds) <= graph.before(command("images-pool"))
    assert command("images-pool") in graph.before(command("glance-ceph"))
    assert command("glance-ceph") in graph.before("kubernetes:apps/v1:Deployment glance")


def test_keys_of_ceph_travel_by_stdin_alone(graph: Graph) -> None:
    names = [f"storage-jarvis-{n}-mon" for n in (1, 2, 3)] + ["glance-ceph"]
    for one in (graph.resources[command(name)] for name in names):
        assert "stdin" in one.secrets
        assert "\tkey = " in one.inputs["stdin"]
        assert "key = " not in str({key: value for key, value in one.inputs.items() if key != "stdin"})


def test_a_rotated_key_is_told_before_the_gate_asks_with_it(graph: Graph) -> None:
    for n in (1, 2, 3):
        lines = graph.resources[command(f"storage-jarvis-{n}-mon")].inputs["create"].splitlines()
        tell, gate = f"before {text.TOOL} mon admin", f"gate {text.TOOL} mon gate"
        assert lines.index(tell) < lines.index(gate)
        # And once more where the monitor was not running before.
        assert f"after {text.TOOL} mon admin" in lines


class Server:
    """A server as ceph-member sees it, with a fake of each of Ceph's commands."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = folder
        self.commands = Commands(folder / "bin")
        (folder / "etc/ceph").mkdir(parents=True)
        (folder / "var/lib/ceph/osd").mkdir(parents=True)
        (folder / "var/lib/ceph/mon").mkdir(parents=True)
        told = text.member_json(unique="u", name="b", mons=MONS, copies=3, osd=Osd(size_gib=2))
        (folder / "etc/ceph/jarvis.json").write_text(told)
        patch.setenv("JARVIS_ROOT", str(folder))
        patch.setenv("JARVIS_PATIENCE", "0")
        patch.setenv("PATH", f"{self.commands.folder}:/usr/bin:/bin")
        member.load(os.environ)
        self.tool = member
        patch.setattr(shutil, "chown", lambda *_: None)
        self.commands.add("sync")
        self.commands.add("monmaptool", 'touch "${@: -1}"')
        self.commands.add("ceph-mon", f'mkdir "{folder}/var/lib/ceph/mon/jarvis/store.db"')
        self.commands.add("ceph-authtool", "echo key")
        self.commands.add("ceph-osd", f'touch "{folder}/var/lib/ceph/osd/jarvis/mkfs_done"')
        self.commands.add("ceph", 'case "$*" in *"osd new"*) echo 7;; *getmap*) touch "${@: -1}";; esac')


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(tmp_path, monkeypatch)


def test_a_monitors_store_is_made_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.tool, "silent", lambda _: False)
    server.tool.mon_make()
    server.tool.mon_make()
    assert len(server.commands.calls("ceph-mon")) == 1


def test_half_a_store_is_made_anew(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.tool, "silent", lambda _: False)
    (server.tool.MON / "store.db").mkdir(parents=True)
    server.tool.mon_make()
    assert (server.tool.MON / "done").exists()


def test_a_new_monitor_waits_where_others_are_silent(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They might hold the cluster that this server has lost."""
    monkeypatch.setattr(server.tool, "silent", lambda address: address == MONS["c"])
    server.commands.add("ceph", "exit 1")
    with pytest.raises(SystemExit):
        server.tool.mon_make()
    assert "no answer from c" in capsys.readouterr().err
    assert not server.commands.calls("ceph-mon")
    # One that answers is enough to know the cluster.
    server.commands.add("ceph", "echo '{}'")
    server.tool.mon_make()
    assert (server.tool.MON / "done").exists()


RUNNING = """
case "$*" in
  *mon_status*) echo '{"state": "peon", "monmap": {"epoch": %d}}';;
  *"--name mon. "*"auth print-key"*) cat "%s";;
  *"--name mon. "*"auth import"*) echo new >"%s";;
  *) echo "RADOS permission denied" >&2; exit 1;;
esac
"""


def test_the_administrators_new_key_is_told_by_the_monitors_right(server: Server) -> None:
    """The cluster knows the old key alone, so nothing can be asked with the new one."""
    known = server.root / "known"
    known.write_text("old\n")
    server.commands.add("systemctl")
    server.commands.add("ceph-authtool", "echo new")
    server.commands.add("ceph", RUNNING % (4, known, known))
    server.tool.mon_admin()
    assert known.read_text() == "new\n"
    server.tool.mon_admin()
    assert len([call for call in server.commands.calls("ceph") if "auth import" in call]) == 1


@pytest.mark.parametrize(("epoch", "status"), [(0, 0), (4, 3)])
def test_without_a_cluster_or_a_monitor_nobody_is_told(server: Server, epoch: int, status: int) -> None:
    """At a first deployment the key is in the first store; a monitor that is off is started first."""
    server.commands.add("systemctl", f"exit {status}")
    server.commands.add("ceph", RUNNING % (epoch, "/dev/null", "/dev/null"))
    server.tool.mon_admin()
    assert not [call for call in server.commands.calls("ceph") if "auth" in call]


def test_an_osd_is_made_once_and_after_an_interruption_with_the_same_identity(server: Server) -> None:
    server.commands.add("ceph-osd", "exit 1")
    with pytest.raises(SystemExit):
        server.tool.osd_make()
    identity = (server.tool.OSD / "fsid").read_text()
    image = server.root / "var/lib/ceph/osd.img"
    label = f'printf "bluestore block device\\n%s\\n" "$(cat {server.tool.OSD}/fsid)" 1<>{image}'
    server.commands.add("ceph-osd", f'touch "{server.tool.OSD}/mkfs_done"; {label}')
    server.tool.osd_make()
    server.tool.osd_make()
    assert (server.tool.OSD / "fsid").read_text() == identity
    assert (server.tool.OSD / "id.env").read_text() == "OSD_ID=7\n"
    assert image.stat().st_size == 2 * 2**30
    assert len(server.commands.calls("ceph-osd")) == 2


def test_a_file_of_somebody_else_becomes_no_osd(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (server.root / "var/lib/ceph/osd.img").write_text("mine")
    with pytest.raises(SystemExit):
        server.tool.osd_make()
    assert "holds something" in capsys.readouterr().err
    assert (server.root / "var/lib/ceph/osd.img").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"quorum_names": ["a", "b"]}, "not in the quorum: c"),
        ({"mgrmap": {"available": False}}, "no manager"),
        ({"osdmap": {"num_osds": 3, "num_up_osds": 2, "num_in_osds": 3}}, "2 of 3 osds are up"),
        ({"osdmap": {"num_osds": 2, "num_up_osds": 2, "num_in_osds": 2}}, "2 of 3 osds are up"),
        (
            {"pgmap": {"pgs_by_state": [{"state_name": "active+undersized+degraded", "count": 9}]}},
            "9 placement groups are active\\+undersized\\+degraded",
        ),
    ],
)
def test_what_is_missing_of_a_cluster_is_said(server: Server, change: dict[str, Any], missing: str) -> None:
    server.tool.whole(CLEAN)
    with pytest.raises(server.tool.Problem, match=missing):
        server.tool.whole(CLEAN | change)


def test_a_pool_is_brought_to_its_numbers(server: Server) -> None:
    answers = json.dumps(CLEAN)
    server.commands.add("rbd")
    server.commands.add(
        "ceph",
        'case "$*" in *"pool ls"*) echo "[]";; *"get images size"*) echo "{\\"size\\": 2}";;'
        ' *"get images min_size"*) echo "{\\"min_size\\": 2}";; *"application get"*) echo "{}";;'
        f" *status*) echo '{answers}';; esac",
    )
    server.tool.pool("images", "3", "2")
    calls = "\n".join(server.commands.calls("ceph"))
    assert "osd pool create images 32 32 replicated" in calls
    assert "osd pool set images size 3" in calls
    assert "set images min_size" not in calls
    assert server.commands.calls("rbd") == ["rbd pool init images"]


def test_the_numbers_of_a_pool_go_together() -> None:
    three: Any = SimpleNamespace(monitors=MONS, copies=3)
    pool = PoolArgs(storage=three, pool="images")
    assert (pool.size, pool.least) == (3, 2)
    mistakes: list[dict[str, Any]] = [{"copies": 4}, {"min_size": 4}, {"pool": "Images"}]
    for wrong in mistakes:
        with pytest.raises(ValueError, match=r"pool|name"):
            PoolArgs(**({"storage": three, "pool": "images"} | wrong))
