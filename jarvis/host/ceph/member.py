"""What Ceph's daemons of this server need beyond their units: to be made, changed one by one, and to leave.

    ceph-member mon make|admin|gate|ready|leave
    ceph-member mgr make
    ceph-member osd make|grow|gate|ready|leave
    ceph-member osd retire                    moves the osd's data off, forgets it and frees its disk
    ceph-member osd retire failed             the same of a disk that does not answer any more
    ceph-member pool NAME COPIES MIN_SIZE     makes the pool for RBD, or brings it to these numbers
    ceph-member client KEYRING                what the keyring's clients may do becomes what it says
    ceph-member drop SERVER                   forgets what ran on a server that is gone for good
    ceph-member health                        waits until the cluster is whole; prints what Ceph says of it

`/etc/ceph/jarvis.json` says what this server is: name, fsid, mons ({name: address}), copies, and osd ({path,
size_gib} or {device}). All verbs may run any number of times and be killed anywhere: a store that was not
finished has no mark of it (`done`, BlueStore's own `mkfs_done`), and is made anew. What is wiped is the disk
that carries the label of this server's own osd, whatever the configuration calls the disk by then.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from jarvis.host.ceph import disk

# How long the store of an osd may take to be opened and grown, and data to move to other servers, in seconds.
EXPANSION = 600
MOVING = 7 * 24 * 3600

# What follows has a value once `load` has read what this server is.
ROOT: Path
FACTOR: int
PATIENCE: float
PORT: int
CONFIG: Path
MON: Path
MGR: Path
OSD: Path
# Servers that are gone for good: a file of the server's own, since a monitor is not restarted to learn of it.
LOST: Path
# How long one question to the cluster may take, in seconds; each is asked again.
ANSWER: int
ME: dict[str, Any]


def load(environ: Mapping[str, str]) -> None:
    """Reads what this server is, and for how long things are waited for."""
    global ROOT, FACTOR, PATIENCE, PORT, CONFIG, MON, MGR, OSD, LOST, ANSWER, ME
    ROOT = Path(environ.get("JARVIS_ROOT", "/"))
    FACTOR = int(environ.get("JARVIS_PATIENCE_FACTOR", "1"))
    PATIENCE = float(environ.get("JARVIS_PATIENCE", str(120 * FACTOR)))
    PORT = int(environ.get("JARVIS_CEPH_PORT", "3300"))
    CONFIG = ROOT / "etc/ceph"
    MON, MGR, OSD = (ROOT / "var/lib/ceph" / kind / "jarvis" for kind in ("mon", "mgr", "osd"))
    LOST = ROOT / "var/lib/jarvis/lost"
    ANSWER = 5 * FACTOR
    ME = json.loads((CONFIG / "jarvis.json").read_text())


def servers() -> dict[str, str]:
    """The servers that take part, each with its address."""
    lost = LOST.read_text().split() if LOST.exists() else []
    return {name: address for name, address in ME["mons"].items() if name not in lost}


class Problem(Exception):
    """A condition that does not hold yet, or that an operator has to mend."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def die(text: str) -> NoReturn:
    say(f"error: {socket.gethostname()}: ceph: {text}")
    raise SystemExit(1)


def command(*words: str, stdin: str = "", patience: int | None = None) -> str:
    """What a command prints. Raises `Problem` with its last line where it fails, or takes `patience` s."""
    patience = 60 * FACTOR if patience is None else patience
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise Problem(f"{words[0]} did not end within {patience} s") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
        raise Problem(f"{words[0]}: {lines[-1]}")
    return done.stdout


def ceph(*words: str, stdin: str = "") -> str:
    return command("ceph", "--connect-timeout", str(ANSWER), *words, stdin=stdin)


def ask(*words: str) -> Any:
    return json.loads(ceph(*words, "--format", "json"))


def wait(what: Any, patience: float | None = None, pause: float = 0.3) -> Any:
    """The result of `what` once it raises no `Problem`; the last one ends the program after `patience` s."""
    patience = PATIENCE if patience is None else patience
    deadline = time.monotonic() + patience
    while True:
        try:
            return what()
        except Problem as problem:
            if time.monotonic() >= deadline:
                die(f"{problem} (for {patience:.0f} s; look with: ceph -s)")
        time.sleep(pause)


def running(kind: str) -> bool:
    unit = f"jarvis-ceph-{kind}.service"
    return subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0


def empty(folder: Path, keep: tuple[str, ...] = ()) -> None:
    """`folder` is there, Ceph's alone, with nothing in it but `keep`."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.chown(folder, "ceph", "ceph")


def write(path: Path, text: str) -> None:
    """A file of Ceph's alone, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    shutil.chown(part, "ceph", "ceph")
    part.rename(path)


def silent(address: str) -> bool:
    """Whether a server gives no answer at all: neither a monitor's, nor that none listens."""
    try:
        socket.create_connection((address, PORT), timeout=3).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return False


def unknown() -> None:
    """Raises `Problem` while it cannot be told whether there is a cluster that this server belongs to."""
    others = {name: address for name, address in servers().items() if name != ME["name"]}
    mute = [name for name, address in others.items() if silent(address)]
    if not mute and not (OSD / "mkfs_done").exists():
        return
    why = f"no answer from {' and '.join(mute)}" if mute else "its disk is of a cluster that does not answer"
    try:
        ceph("quorum_status")
    except Problem as problem:
        raise Problem(
            f"{ME['name']} has no monitor's store, and is not given a new one: {why}; a new one beside "
            f"servers that hold the old one could begin a second cluster. Start those first ({problem})"
        ) from None


def mon_make() -> None:
    if (MON / "done").exists():
        return
    wait(unknown)
    empty(MON)
    # Beside the store: Ceph takes a folder that is not empty for a store, and says so with status 0.
    monmap = MON.with_name(".jarvis-monmap")
    members = [
        word for name, address in ME["mons"].items() for word in ("--addv", name, f"[v2:{address}:{PORT}]")
    ]
    try:
        command("monmaptool", "--create", "--clobber", "--fsid", ME["fsid"], *members, str(monmap))
        shutil.chown(monmap, "ceph", "ceph")
        user = ("--setuser", "ceph", "--setgroup", "ceph")
        keyring = str(CONFIG / "jarvis-mon.keyring")
        command(
            *("ceph-mon", "--mkfs", "--id", ME["name"], "--monmap", str(monmap)),
            *("--keyring", keyring, "--mon-data", str(MON), *user),
        )
    except Problem as problem:
        die(f"the monitor's store could not be made: {problem}")
    monmap.unlink()
    if not (MON / "store.db").is_dir():
        die(f"ceph-mon --mkfs has made no store in {MON}")
    command("sync", "-f", str(MON))
    write(MON / "done", f"{ME['fsid']}\n")
    say(f"ceph: {ME['name']} has a new monitor's store")


def mon_status() -> Any:
    """What this server's monitor says of itself, which needs no quorum and no key."""
    return json.loads(command("ceph", "daemon", f"mon.{ME['name']}", "mon_status"))


def mon_ready() -> None:
    """The monitor is in the quorum, or there never was one: the first waits for nobody."""
    status = mon_status()
    if status["state"] not in ("leader", "peon") and status["monmap"]["epoch"] > 0:
        raise Problem(f"mon.{ME['name']} is {status['state']}: it is not in the quorum")


def mon_gate() -> None:
    if len(servers()) == 1 or not running("mon"):
        return
    wait(lambda: ceph("mon", "ok-to-stop", ME["name"]))


def mon_leave() -> None:
    try:
        if len(ask("mon", "dump")["mons"]) > 1:
            ceph("mon", "remove", ME["name"])
    except Problem as problem:
        say(f"ceph: mon.{ME['name']} may still be known to the others: {problem}")


def mon_admin() -> None:
    """The cluster takes the administrator's key that this server was given. Every other question of this
    program is asked with that key, so a rotation would end with the first of them. Where there is no cluster
    yet, or no monitor here that runs, there is nobody to tell: the key is part of a monitor's first store."""
    if running("mon") and mon_status()["monmap"]["epoch"] > 0:
        wait(admin)


def admin() -> None:
    """The administrator's key becomes the one that this server was given, by the monitors' own right."""
    keyring = CONFIG / "ceph.client.admin.keyring"
    monitor = ("--name", "mon.", "--keyring", str(MON / "keyring"))
    given = command("ceph-authtool", str(keyring), "--name", "client.admin", "--print-key").strip()
    if ceph(*monitor, "auth", "print-key", "client.admin").strip() != given:
        ceph(*monitor, "auth", "import", "-i", str(keyring))


def mgr_make() -> None:
    wait(admin)
    rights = ("mon", "allow profile mgr", "osd", "allow *", "mds", "allow *")
    keyring = wait(lambda: ceph("auth", "get-or-create", f"mgr.{ME['name']}", *rights))
    if not MGR.exists():
        empty(MGR)
    write(MGR / "keyring", keyring)


def holds_something(path: Path) -> str:
    """What a device or a file holds, in words; nothing where it is free."""
    if "device" in ME["osd"]:
        if not path.is_block_device() and str(ROOT) == "/":
            return "it is not a block device"
        return " ".join(command("wipefs", "--no-act", "--noheadings", "--output", "TYPE", str(path)).split())
    return "a file" if path.exists() else ""


def block() -> Path:
    """The disk that the configuration gives this server's osd."""
    osd = ME["osd"]
    return ROOT / str(osd.get("device") or osd["path"]).lstrip("/")


def made_on() -> Path | None:
    """The disk that the osd was made on, or begun on. (Osds of before it was written down have the link.)"""
    if (OSD / "disk").exists():
        return Path((OSD / "disk").read_text().strip())
    return Path(os.readlink(OSD / "block")) if (OSD / "block").is_symlink() else None


def carries(path: Path) -> bool:
    """Whether a disk has the label of this server's osd. Raises `Problem` where it cannot be read."""
    try:
        found: str = disk.osd_on(path)
        return found == (OSD / "fsid").read_text().strip()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None


def keep_disk(path: Path) -> None:
    """The osd that is there has the disk that the configuration names, by the same name. Ends the program
    where that is another disk, or smaller: a changed line is no reason to lose what the old one holds."""
    before = made_on() or path
    where = f"osd.{osd_number()} of {ME['name']} is on {before}"
    moved = "ceph-member osd retire moves its data off, and pulumi up makes one on the other then"
    if not carries(path):
        if disk.same(path, before):
            die(f"{where}, which does not carry it any more (a failed disk: ceph-member osd retire failed)")
        die(f"{where}, and {path} does not carry it; both are left as they are: set it back, or: {moved}")
    if "device" not in ME["osd"] and path.stat().st_size > ME["osd"]["size_gib"] * 2**30:
        die(f"{where}, which has more than {ME['osd']['size_gib']} GiB, and no osd shrinks: set it back")
    if path != before:
        link = OSD / ".block"
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        link.rename(OSD / "block")
        write(OSD / "disk", f"{path}\n")


def osd_make() -> None:
    path = block()
    if (OSD / "mkfs_done").exists():
        keep_disk(path)
        return
    begun = (OSD / "fsid").exists() and (made_on() or path)
    if begun and begun != path:
        release(begun)
    if begun != path:
        # From here to the mark below nothing is written to the disk: what it holds is not ours.
        found = holds_something(path)
        if found:
            die(
                f"{path} holds something ({found}), and is not made an osd: take another one for the osd of "
                f"{ME['name']}, or clear it (wipefs --all {path}; rm for a file), and then: pulumi up"
            )
        empty(OSD)
        key = command("ceph-authtool", "--gen-print-key").strip()
        write(OSD / "key", f"{key}\n")
        write(OSD / "disk", f"{path}\n")
        write(OSD / "fsid", f"{uuid.uuid4()}\n")
    empty(OSD, keep=("key", "fsid", "disk"))
    unique, key = ((OSD / name).read_text().strip() for name in ("fsid", "key"))
    number = wait(
        lambda: ceph("osd", "new", unique, "-i", "-", stdin=json.dumps({"cephx_secret": key}))
    ).strip()
    write(OSD / "keyring", f"[osd.{number}]\n\tkey = {key}\n")
    write(OSD / "id.env", f"OSD_ID={number}\n")
    monmap = OSD / "monmap"
    try:
        wait(lambda: ceph("mon", "getmap", "-o", str(monmap)))
        shutil.chown(monmap, "ceph", "ceph")
        if "device" not in ME["osd"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.truncate(ME["osd"]["size_gib"] * 2**30)
        shutil.chown(path, "ceph", "ceph")
        command(
            *("ceph-osd", "--mkfs", "--id", number, "--osd-uuid", unique, "--monmap", str(monmap)),
            *("--osd-data", str(OSD), "--setuser", "ceph", "--setgroup", "ceph", "--no-mon-config"),
        )
    except (Problem, OSError) as problem:
        die(f"osd.{number} could not be made on {path}: {problem}")
    monmap.unlink()
    say(f"ceph: {ME['name']} has osd.{number} on {path}")


def osd_grow() -> None:
    """The file of an osd becomes as large as the configuration says, before it starts."""
    path = block()
    if "device" in ME["osd"] or not (OSD / "mkfs_done").exists() or not carries(path):
        return
    wanted, has = ME["osd"]["size_gib"] * 2**30, path.stat().st_size
    if has < wanted:
        free = shutil.disk_usage(path.parent).free
        if free < wanted - has:
            die(f"{path} is to grow by {wanted - has} bytes, and {free} are free: osd.size_gib is too much")
        with path.open("ab") as stream:
            stream.truncate(wanted)
            os.fsync(stream.fileno())
    # The second half of a growth that was interrupted is done too. (Of the sizes in the label `size` is the
    # first one for ever, and `bfm_size` what is made use of.)
    label = json.loads(command("ceph-bluestore-tool", "show-label", "--dev", str(path)))[str(path)]
    if int(label.get("bfm_size", label["size"])) < path.stat().st_size:
        command("ceph-bluestore-tool", "bluefs-bdev-expand", "--path", str(OSD), patience=EXPANSION)
        say(f"ceph: {path} has {wanted} bytes by now")


def osd_number() -> str:
    return (OSD / "id.env").read_text().strip().partition("=")[2]


def osd_ready() -> None:
    """The osd is up, and where all servers have theirs, every placement group is whole again."""
    number = int(osd_number())
    state = {one["osd"]: one for one in ask("osd", "dump")["osds"]}
    if not state.get(number, {}).get("up"):
        raise Problem(f"osd.{number} is not up")
    if len(state) >= len(servers()):
        whole(ask("status"))


def whole(status: Any) -> None:
    """Raises `Problem` with what is missing of a cluster whose `ceph status` is `status`."""
    missing = []
    known = servers()
    absent = sorted(set(known) - set(status["quorum_names"]))
    if absent:
        missing.append(f"not in the quorum: {', '.join(absent)}")
    if not status["mgrmap"]["available"]:
        missing.append("no manager")
    osds = status["osdmap"]
    if min(osds["num_up_osds"], osds["num_in_osds"]) < max(osds["num_osds"], len(known)):
        missing.append(f"{osds['num_up_osds']} of {len(known)} osds are up")
    states = {one["state_name"]: one["count"] for one in status["pgmap"].get("pgs_by_state", [])}
    # With fewer servers than copies all that can be there is, once nothing is on its way.
    whole_enough = ("active+clean", *(("active+undersized",) if len(known) < ME["copies"] else ()))
    unclean = {
        name: count
        for name, count in states.items()
        if not name.startswith(whole_enough) or "backfill" in name or "recover" in name
    }
    missing += [f"{count} placement groups are {name}" for name, count in unclean.items()]
    if missing:
        raise Problem("; ".join(missing))


def osd_gate() -> None:
    if ME["copies"] == 1 or not running("osd"):
        return
    wait(lambda: ceph("osd", "ok-to-stop", osd_number()))


def forget_osd(number: str) -> None:
    """The monitors know the osd no more. Not by "osd purge", which a manager answers: the one at work may
    have stopped with this osd, and the last one has when a whole cluster goes."""
    ceph("osd", "down", number)
    ceph("osd", "crush", "rm", f"osd.{number}")
    ceph("auth", "rm", f"osd.{number}")
    ceph("osd", "rm", number)


def osd_leave() -> None:
    """The osd and the manager are forgotten, and the disk that carries the osd is free."""
    subprocess.run(["systemctl", "stop", "jarvis-ceph-osd.service", "jarvis-ceph-mgr.service"], check=False)
    try:
        if (OSD / "id.env").exists():
            forget_osd(osd_number())
        ceph("auth", "rm", f"mgr.{ME['name']}")
    except Problem as problem:
        say(f"ceph: the others may still know of {ME['name']}: {problem}")
    if (OSD / "fsid").exists():
        for path in {made_on() or block(), block()}:
            release(path)


def release(path: Path) -> None:
    """A disk is free, or its file gone, where it carries this server's own osd; else it is left as it is."""
    begun = path == made_on() and disk.blank(path)
    try:
        if not (begun or carries(path)):
            say(f"ceph: {path} is left as it is: it does not carry the osd of {ME['name']}")
            return
    except Problem as problem:
        say(f"ceph: left as it is: {problem}")
        return
    if path.is_file():
        path.unlink()
        return
    command("wipefs", "--all", str(path))
    # BlueStore's label is in the first block, and wipefs takes its magic away alone.
    command("dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=16", "conv=fsync,notrunc", "status=none")


def moved_off(number: str) -> None:
    """Raises `Problem` until every object that the osd holds is on other servers too, as often as can be."""
    if len(servers()) > ME["copies"]:
        ceph("osd", "out", number)
        ceph("osd", "safe-to-destroy", number)
        return
    if ME["copies"] == 1:
        die(f"osd.{number} holds the only copy, and there is no other server to move it to: nothing was done")
    # Each of the servers has a copy: those of the others must be whole, and then are all that there can be.
    whole(ask("status"))
    ceph("osd", "ok-to-stop", number)


def osd_retire(*, failed: bool) -> None:
    """The osd is gone with its data safe elsewhere, and its disk free; the next `osd make` begins anew."""
    if not (OSD / "fsid").exists():
        say(f"ceph: {ME['name']} has no osd")
        return
    path = made_on() or block()
    number = osd_number() if (OSD / "id.env").exists() else ""
    if failed:
        if running("osd") and carries(path):
            die(
                f"osd.{number} runs, and {path} answers: without the word failed, its data is moved off first"
            )
    elif number:
        say(f"ceph: moving the data of osd.{number} off; this may be interrupted, and typed again")
        # Each server has a copy: that of this one moves nowhere, and the answer is there at once.
        room = len(servers()) > ME["copies"]
        wait(lambda: moved_off(number), *((MOVING, 5) if room else ()))
    subprocess.run(["systemctl", "stop", "jarvis-ceph-osd.service"], check=False)
    if number:
        wait(lambda: forget_osd(number))
    release(path)
    # What names it goes last.
    empty(OSD, keep=("fsid", "disk"))
    empty(OSD)
    say(f"ceph: {ME['name']} has no osd any more")


def drop(name: str) -> None:
    """What ran on a server that is gone for good is known no more: its monitor, its osds, its manager, and
    the keys of the last two. The others have what it had."""
    if name in servers():
        die(f"{name} is not among the lost servers ({LOST})")

    def forget_all() -> None:
        if name in [one["name"] for one in ask("mon", "dump")["mons"]]:
            ceph("mon", "remove", name)
        tree = ask("osd", "tree")["nodes"]
        for host in (one for one in tree if one["type"] == "host" and one["name"] == name):
            for number in map(str, host["children"]):
                forget_osd(number)
            ceph("osd", "crush", "rm", name)
        ceph("auth", "rm", f"mgr.{name}")

    wait(forget_all)


def pool(name: str, copies: str, least: str) -> None:
    def make() -> None:
        if name not in ask("osd", "pool", "ls"):
            ceph("osd", "pool", "create", name, "32", "32", "replicated")
        one = ("--yes-i-really-mean-it",) if copies == "1" else ()
        if str(ask("osd", "pool", "get", name, "size")["size"]) != copies:
            ceph("osd", "pool", "set", name, "size", copies, *one)
        if str(ask("osd", "pool", "get", name, "min_size")["min_size"]) != least:
            ceph("osd", "pool", "set", name, "min_size", least)
        if "rbd" not in ask("osd", "pool", "application", "get", name):
            command("rbd", "pool", "init", name)

    wait(make)
    wait(lambda: whole(ask("status")))


def client(keyring: str) -> None:
    wait(lambda: ceph("auth", "import", "-i", keyring))


def forget(names: list[str]) -> None:
    try:
        for name in names:
            ceph("auth", "rm", f"client.{name}")
    except Problem as problem:
        say(f"ceph: {' '.join(names)} may still be let in: {problem}")


def health() -> None:
    wait(lambda: whole(ask("status")), 5 * PATIENCE)
    print(ceph("health").strip())


def main(words: list[str]) -> None:
    verbs: dict[tuple[str, ...], Any] = {
        ("mon", "make"): mon_make,
        ("mon", "admin"): mon_admin,
        ("mon", "gate"): mon_gate,
        ("mon", "ready"): mon_ready,
        ("mon", "leave"): mon_leave,
        ("mgr", "make"): mgr_make,
        ("osd", "make"): osd_make,
        ("osd", "grow"): osd_grow,
        ("osd", "retire"): lambda: osd_retire(failed=False),
        ("osd", "retire", "failed"): lambda: osd_retire(failed=True),
        ("osd", "gate"): osd_gate,
        ("osd", "ready"): osd_ready,
        ("osd", "leave"): osd_leave,
        ("health",): health,
    }
    if tuple(words) in verbs:
        verbs[tuple(words)]()
    elif words[:1] == ["pool"] and len(words) == 4:
        pool(*words[1:])
    elif words[:1] == ["drop"] and len(words) == 2:
        drop(words[1])
    elif words[:1] == ["client"] and len(words) == 2:
        client(words[1])
    elif words[:1] == ["forget"] and len(words) > 1:
        forget(words[1:])
    else:
        die(f"not a verb: {' '.join(words)}")


def run() -> None:
    """The program: its words are the arguments of the process."""
    load(os.environ)
    try:
        main(sys.argv[1:])
    except Problem as problem:
        die(str(problem))
