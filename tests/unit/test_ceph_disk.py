"""Which disk an osd is on: no other is ever wiped, and a change of it is refused, or moves the data first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jarvis.config.server import Osd
from jarvis.stateful.ceph import text
from tests.unit.test_ceph import CLEAN, MONS, Server
from tests.unit.test_hosts_preflight import WANTED, Box

FOREIGN = "22222222-2222-4222-8222-222222222222"
GIB = 2**30


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path, monkeypatch)
    server.commands.add("systemctl", "exit 3")
    server.commands.add("wipefs")
    server.commands.add("dd")
    return server


def label(path: Path, unique: str) -> None:
    """What BlueStore writes at the beginning of a disk; what follows stays."""
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.write(f"bluestore block device\n{unique}\n".encode() + b"\2\1" + bytes(100))


def made(server: Server) -> Path:
    """The server has its osd; the disk it is on."""
    server.tool.osd_make()
    path: Path = server.tool.block()
    label(path, (server.tool.OSD / "fsid").read_text().strip())
    return path


def configure(server: Server, osd: Osd, copies: int = 3, mons: dict[str, str] | None = None) -> None:
    """The configuration says something else by now."""
    told = text.member_json(unique="u", name="b", mons=mons or MONS, copies=copies, osd=osd)
    server.tool.ME.clear()
    server.tool.ME.update(json.loads(told))


def answers(server: Server, *, down: str = "") -> None:
    """Ceph says that all is well; ``down`` is a command that it refuses."""
    refusal = f'*"{down}"*) echo "Error EBUSY: {down}" >&2; exit 16;;' if down else ""
    server.commands.add("ceph", f"case \"$*\" in {refusal} *status*) echo '{json.dumps(CLEAN)}';; esac")


def refused(server: Server, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        server.tool.main(list(words))
    return capsys.readouterr().err


def test_an_osd_that_is_removed_takes_its_own_disk_along(server: Server) -> None:
    path = made(server)
    server.tool.osd_leave()
    assert not path.exists()


def test_what_another_osd_is_on_is_never_wiped(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(server)
    label(path, FOREIGN)
    server.tool.osd_leave()
    assert path.exists()
    assert f"{path} is left as it is" in capsys.readouterr().err


def test_the_disk_that_is_named_now_is_not_wiped_for_the_one_that_was(server: Server) -> None:
    path = made(server)
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    other: Path = server.tool.block()
    other.write_text("somebody's")
    server.tool.osd_leave()
    assert other.read_text() == "somebody's"
    assert not path.exists()


def test_a_device_is_wiped_where_it_carries_the_osd_and_only_there(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(server, Osd(device="/dev/disk/by-id/one"))
    device: Path = server.tool.block()
    device.parent.mkdir(parents=True)
    label(device, "")
    made(server)
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    configure(server, Osd(device="/dev/disk/by-id/two"))
    other: Path = server.tool.block()
    label(other, FOREIGN)
    server.tool.osd_leave()
    assert server.commands.calls("wipefs")[-1] == f"wipefs --all {device}"
    assert not [call for call in server.commands.calls("dd") if str(other) in call]
    assert [call for call in server.commands.calls("dd") if f"of={device}" in call]


def test_a_disk_that_does_not_answer_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(server)

    def broken(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(server.tool.disk, "_first", broken)
    monkeypatch.setattr(server.tool.disk, "blank", lambda _: False)
    server.tool.osd_leave()
    assert path.exists()
    assert "Input/output error" in capsys.readouterr().err


def test_another_disk_for_an_osd_that_is_there_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(server)
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    told = refused(server, capsys, "osd", "make")
    assert str(path) in told
    assert "osd retire" in told
    assert not server.tool.block().exists()


def test_the_same_disk_by_another_name_is_the_same(server: Server) -> None:
    path = made(server)
    (server.tool.OSD / "block").symlink_to(path)
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    other: Path = server.tool.block()
    other.symlink_to(path)
    server.tool.osd_make()
    assert (server.tool.OSD / "block").readlink() == other
    assert server.tool.made_on() == other


def test_an_osd_of_before_the_disk_was_written_down_is_known_by_its_link(server: Server) -> None:
    path = made(server)
    (server.tool.OSD / "disk").unlink()
    (server.tool.OSD / "block").symlink_to(path)
    server.tool.osd_make()
    assert server.tool.made_on() == path
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    with pytest.raises(SystemExit):
        server.tool.osd_make()


def test_an_osd_that_was_begun_on_another_disk_asks_whether_this_one_is_free(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.commands.add("ceph-osd", "exit 1")
    with pytest.raises(SystemExit):
        server.tool.osd_make()
    begun: Path = server.tool.block()
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    server.tool.block().write_text("somebody's")
    assert "holds something" in refused(server, capsys, "osd", "make")
    assert server.tool.block().read_text() == "somebody's"
    # What was begun was this program's, and empty.
    assert not begun.exists()


def test_an_osd_grows_before_it_starts(server: Server) -> None:
    path = made(server)
    size = json.dumps({str(path): {"size": 2 * GIB, "bfm_size": str(2 * GIB)}})
    server.commands.add("ceph-bluestore-tool", f"case $1 in show-label) echo '{size}';; esac")
    server.tool.main(["osd", "grow"])
    assert not [call for call in server.commands.calls("ceph-bluestore-tool") if "expand" in call]
    configure(server, Osd(size_gib=3))
    server.tool.main(["osd", "grow"])
    assert path.stat().st_size == 3 * GIB
    # One that was cut off between the two halves is finished.
    server.tool.main(["osd", "grow"])
    grown = f"ceph-bluestore-tool bluefs-bdev-expand --path {server.tool.OSD}"
    assert server.commands.calls("ceph-bluestore-tool").count(grown) == 2
    size = json.dumps({str(path): {"size": 2 * GIB, "bfm_size": str(3 * GIB)}})
    server.commands.add("ceph-bluestore-tool", f"case $1 in show-label) echo '{size}';; esac")
    server.tool.main(["osd", "grow"])
    assert server.commands.calls("ceph-bluestore-tool").count(grown) == 2


def test_an_osd_does_not_shrink(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    configure(server, Osd(size_gib=4))
    path = made(server)
    size = json.dumps({str(path): {"size": 4 * GIB}})
    server.commands.add("ceph-bluestore-tool", f"echo '{size}'")
    configure(server, Osd(size_gib=3))
    assert "no osd shrinks" in refused(server, capsys, "osd", "make")
    server.tool.main(["osd", "grow"])
    assert path.stat().st_size == 4 * GIB


def test_a_retired_osd_leaves_room_for_the_next_one(server: Server) -> None:
    path = made(server)
    identity = (server.tool.OSD / "fsid").read_text()
    answers(server)
    server.tool.main(["osd", "retire"])
    calls = server.commands.calls("ceph")
    assert [call for call in calls if call.endswith("osd ok-to-stop 7")]
    assert [call for call in calls if call.endswith("osd rm 7")]
    assert not path.exists()
    server.commands.add("ceph", 'case "$*" in *"osd new"*) echo 8;; *getmap*) touch "${@: -1}";; esac')
    configure(server, Osd(path="/var/lib/other.img", size_gib=2))
    server.tool.main(["osd", "make"])
    assert (server.tool.OSD / "fsid").read_text() != identity
    assert server.tool.made_on() == server.tool.block()


@pytest.mark.parametrize("down", ["osd ok-to-stop"])
def test_an_osd_whose_data_others_lack_is_not_retired(
    server: Server, capsys: pytest.CaptureFixture[str], down: str
) -> None:
    path = made(server)
    answers(server, down=down)
    assert "EBUSY" in refused(server, capsys, "osd", "retire")
    assert path.exists()
    assert not [call for call in server.commands.calls("ceph") if call.endswith("osd rm 7")]


def test_data_moves_off_where_there_is_another_place_for_it(server: Server) -> None:
    made(server)
    configure(server, Osd(size_gib=2), copies=2)
    answers(server)
    server.tool.main(["osd", "retire"])
    calls = [call.partition("--connect-timeout 5 ")[2] for call in server.commands.calls("ceph")]
    assert calls.index("osd out 7") < calls.index("osd safe-to-destroy 7")
    assert calls.index("osd safe-to-destroy 7") < calls.index("osd down 7")


def test_the_only_copy_is_not_retired(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(server)
    configure(server, Osd(size_gib=2), copies=1, mons={"b": MONS["b"]})
    assert "the only copy" in refused(server, capsys, "osd", "retire")
    assert path.exists()


def test_a_failed_disk_is_forgotten_and_one_that_answers_is_no_failed_one(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(server)
    answers(server, down="ok-to-stop")
    server.commands.add("systemctl", "exit 0")
    assert "without the word failed" in refused(server, capsys, "osd", "retire", "failed")
    path.write_bytes(bytes(8192))
    server.tool.main(["osd", "retire", "failed"])
    assert [call for call in server.commands.calls("ceph") if call.endswith("osd rm 7")]
    assert not (server.tool.OSD / "fsid").exists()


def own(box: Box, unique: str = "11111111-1111-4111-8111-111111111111") -> None:
    """The server of ``box`` has an osd on ``/var/lib/ceph/osd.img``."""
    box.write("var/lib/ceph/osd/jarvis/fsid", f"{unique}\n")
    box.write("var/lib/ceph/osd/jarvis/mkfs_done", "yes\n")
    box.write("var/lib/ceph/osd/jarvis/disk", "/var/lib/ceph/osd.img\n")
    box.write("var/lib/ceph/osd.img", "")
    label(box.root / "var/lib/ceph/osd.img", unique)


def test_preflight_refuses_another_disk_for_an_osd_that_is_there(tmp_path: Path) -> None:
    box = Box(tmp_path)
    own(box)
    box.wanted = WANTED | {"osd_file": "/var/lib/ceph/osd.img", "osd_gib": "0"}
    assert box.check()[0] == 0
    box.wanted = WANTED | {"osd_device": "/dev/sdb"}
    box.write("dev/sdb", "somebody's")
    (failure,) = box.check()[2]
    assert failure.startswith("osd: it is on /var/lib/ceph/osd.img, and not on /dev/sdb")
    assert "osd retire" in failure
    # The label says whose it is, whatever it is called.
    label(box.root / "dev/sdb", "11111111-1111-4111-8111-111111111111")
    assert box.check()[0] == 0


def test_preflight_refuses_an_osd_that_is_to_shrink_or_has_no_room_to_grow(tmp_path: Path) -> None:
    box = Box(tmp_path)
    own(box)
    with (box.root / "var/lib/ceph/osd.img").open("r+b") as stream:
        stream.truncate(4 * GIB)
    box.wanted = WANTED | {"osd_file": "/var/lib/ceph/osd.img", "osd_gib": "3"}
    assert box.check()[2] == [
        "osd: /var/lib/ceph/osd.img has 4 GiB, and no osd shrinks to 3 (field osd.size_gib of the server)"
    ]
    box.wanted["osd_gib"] = "25"
    assert box.check()[2] == [
        "osd: 20480 MiB free below /var; 21 GiB more are asked for (field osd.size_gib of the server)"
    ]
    box.wanted["osd_gib"] = "8"
    assert box.check()[0] == 0


def test_a_unit_owns_the_disk_that_its_osd_was_made_on() -> None:
    assert "chown ceph:ceph /var/lib/ceph/osd/jarvis/block\n" in text.osd_unit(Osd(device="/dev/sdb"))
    assert "/dev/sdb" not in text.osd_unit(Osd(device="/dev/sdb"))
    assert f"ExecStartPre={text.TOOL} osd grow\n" in text.osd_unit(Osd())
