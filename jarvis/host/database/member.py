"""A member of the database's cluster, beside MariaDB itself.

    member agent         answers for this member: to the link's proxies (HTTP, is it to be used?), and to the
                         other members (HTTPS between members alone: what does it have?)
    member prepare       before MariaDB starts: waits until it is clear how (decision.py); as root
    member ready         whether MariaDB is a part of the cluster, and in step with it
    member gate          waits until the others can spare this member
    member forget NAME   the member NAME is lost for good: it is not waited for until the cluster is at work

`/etc/mysql/jarvis/member.json` says who is who: name, members ({name: address}, in one order everywhere),
data (folder of the database).
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from jarvis.host.database.decision import EMPTY, NONPRIMARY, PRIMARY, STOPPED, UNKNOWN, WAITING, State, decide

PORT, HEALTH_PORT, STATE_PORT = 3307, 3308, 3309
# Seconds that an answer of MariaDB may take, for which it holds, and between two questions, each of which
# starts a client. On a busy machine that takes seconds, and an answer that is late is no loss of the member:
# proxies would end every session on it. Whether its port answers is looked at beside, whenever a proxy asks,
# and a server that is gone does not answer the proxies: only a MariaDB that hangs is noticed by this.
ANSWER, FRESH, PAUSE = 6.0, 9.0, 1.0
# While the others agree that a member is gone, each is for a moment without the majority. Their proxies would
# end every session on them, which wait for no more than that.
RIPPLE = 4.0
# A member without the majority may get it back by itself, when the network does.
SETTLED = 4.0
# While the others are at work it joins them by itself, within seconds; or never, where a transfer has failed.
LEFT_OUT = 15.0
NOBODY = "00000000-0000-0000-0000-000000000000"
_POSITION = re.compile(r"Recovered position:\s*([0-9a-f-]{36}):(-?\d+)")
_STATUS = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_local_state_comment',"
    " 'wsrep_ready', 'wsrep_last_committed', 'wsrep_cluster_state_uuid', 'wsrep_cluster_size', 'Uptime');"
    " SHOW GLOBAL VARIABLES LIKE 'read_only'"
)


# What follows has a value once `load` has read what this server is.
ROOT: Path
TLS: Path
ME: dict[str, Any]
DATA: Path
RUN: Path
# What outlives the data: that this server had some, and whom an operator has given up.
KEPT: Path
POSITION: Path
START: Path
REASON: Path
MEMBER: Path
LOST: Path
SOCKET: Path
PID: Path
# Where Debian's package, and Jarvis before there was a cluster, kept the database.
FORMER: Path
# The statements that an empty database begins with.
BASE_SQL: Path
GATE_SECONDS: float


def load(environ: Mapping[str, str]) -> None:
    """Reads what this server is, and for how long the others are waited for."""
    global ROOT, TLS, ME, DATA, RUN, KEPT, POSITION, START, REASON, MEMBER
    global LOST, SOCKET, PID, FORMER, BASE_SQL, GATE_SECONDS
    ROOT = Path(environ.get("JARVIS_ROOT", "/"))
    TLS = ROOT / "etc/mysql/jarvis"
    ME = json.loads((TLS / "member.json").read_text())
    DATA = ROOT / str(ME["data"]).lstrip("/")
    RUN = ROOT / "run/jarvis-database"
    KEPT = ROOT / "var/lib/jarvis-database"
    POSITION, START, REASON, MEMBER = RUN / "position", RUN / "start", RUN / "reason", KEPT / "member"
    LOST = ROOT / "var/lib/jarvis/lost"
    SOCKET, PID = ROOT / "run/mysqld/mysqld.sock", ROOT / "run/mysqld/mysqld.pid"
    FORMER = ROOT / "var/lib/mysql"
    BASE_SQL = ROOT / "var/lib/jarvis/lib/database/base.sql"
    GATE_SECONDS = 120.0 * int(environ.get("JARVIS_PATIENCE_FACTOR", "1"))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def die(text: str) -> NoReturn:
    say(f"error: {socket.gethostname()}: database: {text}")
    raise SystemExit(1)


def write(path: Path, text: str) -> None:
    """A file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.chmod(0o644)
    part.rename(path)


def mariadb(statements: str) -> dict[str, str]:
    """The rows of two columns that MariaDB answers; nothing where it does not answer."""
    words = ["mariadb", "--batch", "--skip-column-names", "--connect-timeout=5", "--execute", statements]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER, check=False)
    except subprocess.TimeoutExpired:
        return {}
    pairs = [line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line]
    return {} if done.returncode else {pair[0]: pair[1] for pair in pairs}


# ---- what this member has ----------------------------------------------------------------------------------


def grastate() -> tuple[str, int]:
    """UUID and seqno as Galera wrote them when it ended, or ("", -1)."""
    try:
        text = (DATA / "grastate.dat").read_text()
        uuid = re.search(r"^uuid:\s*(\S+)", text, re.MULTILINE)
        seqno = re.search(r"^seqno:\s*(-?\d+)", text, re.MULTILINE)
    except OSError:
        return "", -1
    found = uuid[1] if uuid and uuid[1] != NOBODY else ""
    return found, int(seqno[1]) if seqno and found else -1


def on_disk() -> State:
    """What lies on the disk, without reading the database itself."""
    # Galera's script has begun to overwrite the data with another member's, which has all that was here.
    if (DATA / "sst_in_progress").exists():
        return State(EMPTY)
    if not (DATA / "ibdata1").exists() or (DATA / ".jarvis-initialising").exists():
        if MEMBER.exists():
            return State(
                UNKNOWN,
                why=f"{DATA} is empty, and it was a member: is its disk there? If its data is lost for good:"
                f" rm {MEMBER}",
            )
        return State(EMPTY)
    uuid, seqno = grastate()
    if seqno >= 0:
        return State(STOPPED, uuid, seqno)
    return State(UNKNOWN, uuid, why="MariaDB has not started since it ended without order")


def recovered() -> State:
    """What this member has, as InnoDB's own recovery finds it; MariaDB does not run."""
    state = on_disk()
    if state.state == STOPPED:
        return State(WAITING, state.uuid, state.seqno)
    if state.state == EMPTY or not (DATA / "ibdata1").exists():
        return state
    log = RUN / "recovery.log"
    log.unlink(missing_ok=True)
    words = ["/usr/sbin/mariadbd", "--user=mysql", "--wsrep-recover", f"--log-error={log}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = log.read_text(errors="replace") if log.exists() else ""
    found = _POSITION.findall(text)
    if not found:
        last = [line for line in text.splitlines() if "[ERROR]" in line][-1:] or [f"status {done.returncode}"]
        return State(UNKNOWN, why=f"its position could not be recovered: {last[0]}; see {log}")
    uuid, seqno = found[-1]
    # InnoDB knows no cluster's position before the first transaction of one.
    if uuid == NOBODY:
        return State(WAITING, grastate()[0], -1)
    return State(WAITING, uuid, int(seqno))


def written() -> State | None:
    """What `prepare`, which holds the file as long as it waits, has written down."""
    try:
        with POSITION.open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return State(**json.load(stream))
    except (OSError, ValueError, TypeError):
        pass
    return None


def running(said: dict[str, str]) -> State | None:
    """What this member has, of what its MariaDB said; `None` where that said nothing."""
    if not said:
        return None
    size = int(said.get("wsrep_cluster_size", "0"))
    uuid, seqno = said.get("wsrep_cluster_state_uuid", ""), int(said.get("wsrep_last_committed", "-1"))
    primary = said.get("wsrep_cluster_status") == "Primary"
    return State(PRIMARY if primary else NONPRIMARY, uuid, seqno, size)


def waits_for() -> str:
    return REASON.read_text().strip() if REASON.exists() else ""


def against(said: dict[str, str]) -> str:
    """What the state of the cluster has against clients on this member, or nothing."""
    if said.get("wsrep_cluster_status") != "Primary":
        return f"this member has lost the majority; {waits_for()}".rstrip("; ")
    # A donor goes on: mariadb-backup holds no lock while it copies.
    if said.get("wsrep_local_state_comment") not in ("Synced", "Donor/Desynced"):
        return f"it is {said.get('wsrep_local_state_comment')}"
    if said.get("wsrep_ready") != "ON" or said.get("read_only") != "OFF":
        return "it takes no writes"
    return ""


class Lasting:
    """How long something has held, looked at again and again."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, holds: bool) -> float:
        """For how long it holds without a break; 0 where it does not, and when it is first seen."""
        if not holds:
            self.forget()
            return 0.0
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since

    def forget(self) -> None:
        """As though it had never held."""
        self._since = None


class Observer:
    """Asks MariaDB again and again; `state` and `problem` tell what it said last."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._when = 0.0
        self._sound_at = float("-inf")
        self._lost, self._left_out, self._cut = Lasting(), Lasting(), Lasting()

    def watch(self) -> NoReturn:
        while True:
            said = mariadb(_STATUS)
            self._note(said)
            if said.get("wsrep_local_state_comment") == "Synced":
                self._synced()
            with contextlib.suppress(Exception):
                self._without_majority(said)
            self._cut_off(said)
            time.sleep(PAUSE)

    def _synced(self) -> None:
        if not MEMBER.exists():
            write(MEMBER, self._said["wsrep_cluster_state_uuid"] + "\n")
        for path in KEPT.glob("forgotten-*"):
            path.unlink()

    def _without_majority(self, said: dict[str, str]) -> None:
        """Where this member runs, nobody has the majority, and none has newer data: this one begins. Where
        others have the majority and do not take this one in, it is started again."""
        mine = running(said)
        lost = mine is not None and mine.state == NONPRIMARY
        if self._lost.seconds(lost) < SETTLED:
            self._left_out.forget()
            return
        decision = decide(ME["name"], list(ME["members"]), ask_others() | {ME["name"]: mine}, forgotten())
        tell(decision.reason)
        if decision.verb == "bootstrap":
            say(f"the cluster is begun here again: {decision.reason}")
            mariadb("SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'")
        if self._left_out.seconds(decision.verb == "join") >= LEFT_OUT:
            self._left_out.forget()
            start_again("the cluster is at work, and does not take it in")

    def _cut_off(self, said: dict[str, str]) -> None:
        """Galera leaves a MariaDB running that it has taken out of the cluster for good, such as after a
        transfer that failed ("node restart required"). It is ended, and systemd starts it again."""
        if self._cut.seconds(said.get("wsrep_cluster_status") == "Disconnected") >= SETTLED:
            self._cut.forget()
            start_again("it runs without a cluster")

    def _note(self, said: dict[str, str]) -> None:
        """What MariaDB said, and when all was well with it last."""
        if said:
            self._said, self._when = said, time.monotonic()
            if not against(said):
                self._sound_at = self._when

    def _ripples(self, said: dict[str, str]) -> bool:
        """Whether all was well a moment ago, with this very MariaDB."""
        return time.monotonic() - self._sound_at <= RIPPLE < int(said.get("Uptime", "0"))

    def _fresh(self) -> dict[str, str]:
        return self._said if time.monotonic() - self._when < FRESH else {}

    def state(self) -> State:
        # Asked now: another member may begin the cluster on the word of this answer.
        mine = running(mariadb(_STATUS) if SOCKET.exists() else {})
        return mine or written() or (State(UNKNOWN, why="MariaDB is starting") if alive() else on_disk())

    def problem(self) -> str:
        """Why clients are not to come here, or nothing."""
        said = self._fresh()
        if not said:
            return waits_for() or "MariaDB does not answer"
        found = against(said)
        if found and not self._ripples(said):
            return found
        try:
            socket.create_connection((ME["members"][ME["name"]], PORT), timeout=2).close()
        except OSError as error:
            return f"its port does not answer: {error}"
        return ""


def start_again(why: str) -> None:
    """Ends MariaDB, which is outside of its cluster and takes no writes; systemd starts it. An end in order
    waits there for a Galera that is closed already, for ever."""
    say(f"MariaDB is started again: {why}")
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(PID.read_text()), signal.SIGKILL)


def alive() -> bool:
    """Whether MariaDB runs, or is being started or stopped."""
    words = ["systemctl", "show", "--value", "--property=ActiveState", "mariadb.service"]
    state = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return state in ("active", "activating", "deactivating", "reloading")


# ---- what the others have ----------------------------------------------------------------------------------


def tls(purpose: ssl.Purpose) -> ssl.SSLContext:
    context = ssl.create_default_context(purpose, cafile=str(TLS / "authority.pem"))
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def ask(name: str, address: str) -> State | None:
    """What a member says of itself; `None` where it does not answer, or is another than it should be."""
    try:
        connection = http.client.HTTPSConnection(
            address, STATE_PORT, timeout=2, context=tls(ssl.Purpose.SERVER_AUTH)
        )
        connection.request("GET", "/state")
        told = json.loads(connection.getresponse().read())
        return State(**told["state"]) if told["name"] == name else None
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None


def ask_others() -> dict[str, State | None]:
    others = {name: address for name, address in ME["members"].items() if name != ME["name"]}
    if not others:
        return {}
    with ThreadPoolExecutor(len(others)) as pool:
        return dict(zip(others, pool.map(ask, others, others.values()), strict=True))


def forgotten() -> set[str]:
    """Whom nobody waits for: given up by hand, or on a server that the configuration calls lost."""
    lost = LOST.read_text().split() if LOST.exists() else []
    return {path.name.removeprefix("forgotten-") for path in KEPT.glob("forgotten-*")} | set(lost)


# ---- verbs -------------------------------------------------------------------------------------------------


def tell(reason: str) -> None:
    """Tells systemd, the journal and the proxies why this member waits; each once."""
    if REASON.exists() and REASON.read_text() == reason + "\n":
        return
    write(REASON, reason + "\n")
    say(reason)
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.sendall(f"STATUS={reason}".encode())


def initialise() -> None:
    """An empty database, of which half is never taken for a whole."""
    marker = DATA / ".jarvis-initialising"
    clear()
    marker.touch()
    words = [
        *("mariadb-install-db", "--user=mysql", f"--datadir={DATA}", "--skip-test-db", "--skip-name-resolve"),
        f"--extra-file={BASE_SQL}",
        *("--auth-root-authentication-method=socket", "--auth-root-socket-user=root"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        die(f"mariadb-install-db failed in {DATA}: {(done.stderr or done.stdout).strip()[-500:]}")
    subprocess.run(["sync", "--file-system", str(DATA)], check=True)
    marker.unlink()


def clear() -> None:
    DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path in DATA.iterdir():
        if path.name == "lost+found":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.chown(DATA, "mysql", "mysql")


def stranger() -> str:
    """A file of somebody else in the folder of a database that is empty, or nothing."""
    marks = (".jarvis-initialising", "sst_in_progress")
    if not DATA.exists() or any((DATA / name).exists() for name in marks):
        return ""
    galera = ("lost+found", "grastate.dat", "gvwstate.dat", "galera.cache")
    return next((path.name for path in DATA.iterdir() if path.name not in galera), "")


def former() -> str:
    """A database of somebody in the folder that Debian's package makes, or nothing."""
    own = ("mysql", "performance_schema", "sys", "test", "lost+found")
    folders = (path.name for path in FORMER.iterdir() if path.is_dir()) if FORMER.is_dir() else ()
    return next((name for name in folders if name not in own), "")


def prepare() -> None:
    RUN.mkdir(exist_ok=True)
    REASON.unlink(missing_ok=True)
    START.unlink(missing_ok=True)
    with POSITION.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        mine = recovered()
        POSITION.chmod(0o644)
        if mine.state == EMPTY and (odd := stranger()):
            die(f"{DATA} has files, such as {odd}, but is no database: look at them, and move them away")
        json.dump(asdict(mine), held)
        held.flush()
        while True:
            states = ask_others() | {ME["name"]: mine}
            decision = decide(ME["name"], list(ME["members"]), states, forgotten())
            if decision.verb != "wait":
                break
            tell(f"waits: {decision.reason}")
            time.sleep(PAUSE)
        say(f"{decision.verb}: {decision.reason}")
        lines = []
        if decision.verb == "bootstrap":
            if mine.state == EMPTY:
                if name := former():
                    die(
                        f"{FORMER} has a database {name}, and an empty one would be begun in {DATA}:"
                        f" keep it by mv {FORMER} {DATA}, or move it away; then: pulumi up"
                    )
                initialise()
            state = DATA / "grastate.dat"
            if state.exists():
                text = re.sub(r"(?m)^safe_to_bootstrap:.*$", "safe_to_bootstrap: 1", state.read_text())
                part = state.with_name("grastate.dat.part")
                part.write_text(text)
                shutil.chown(part, "mysql", "mysql")
                part.rename(state)
            lines.append("_WSREP_NEW_CLUSTER=--wsrep-new-cluster")
        elif mine.state == EMPTY or not DATA.exists():
            clear()
        # Who was connected with whom is decided here, from positions; Galera's own memory of it is another.
        (DATA / "gvwstate.dat").unlink(missing_ok=True)
        if mine.uuid and mine.seqno >= 0:
            lines.append(f"_WSREP_START_POSITION=--wsrep-start-position={mine.uuid}:{mine.seqno}")
        write(START, "".join(f"{line}\n" for line in lines))
        REASON.unlink(missing_ok=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    answer: Callable[[], tuple[int, str]]

    def do_GET(self) -> None:
        status, text = type(self).answer()
        body = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Each proxy asks each second: nothing is written down."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the request's own thread: a client that says nothing holds nobody else up.
        request.settimeout(5)
        with contextlib.suppress(OSError):
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)


def agent() -> NoReturn:
    observer = Observer()

    def health() -> tuple[int, str]:
        problem = observer.problem()
        return (503, problem) if problem else (200, "ok")

    def state() -> tuple[int, str]:
        return 200, json.dumps({"name": ME["name"], "state": asdict(observer.state())})

    address = ME["members"][ME["name"]]
    for port, answer, context in (
        (HEALTH_PORT, health, None),
        (STATE_PORT, state, tls(ssl.Purpose.CLIENT_AUTH)),
    ):
        handler = type("Own", (Handler,), {"answer": staticmethod(answer)})
        server = Server((address, port), handler)
        server.context = context
        threading.Thread(target=server.serve_forever, daemon=True).start()
    observer.watch()


def healthy(address: str) -> str:
    """Why the member at `address` is not to be used, or nothing."""
    try:
        with urllib.request.urlopen(f"http://{address}:{HEALTH_PORT}/", timeout=3):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace").strip()
    except OSError as error:
        return str(getattr(error, "reason", error))


def ready() -> None:
    problem = healthy(ME["members"][ME["name"]])
    if problem:
        die(problem)


def gate() -> None:
    """The others that have data are all well; where this member is not, there is nothing to spare."""
    if healthy(ME["members"][ME["name"]]):
        return
    deadline = time.monotonic() + GATE_SECONDS
    while True:
        states = ask_others()
        empty = {name for name, each in states.items() if each and each.state == EMPTY}
        problems = {name: healthy(ME["members"][name]) for name in states if name not in empty | forgotten()}
        unwell = [f"{name}: {text}" for name, text in problems.items() if text]
        if not unwell:
            return
        if time.monotonic() > deadline:
            die(f"not stopped, since the others cannot spare it: {'; '.join(unwell)}")
        time.sleep(PAUSE)


def forget(name: str) -> None:
    if name not in ME["members"] or name == ME["name"]:
        die(f"{name} is none of the other members: {', '.join(ME['members'])}")
    (KEPT / f"forgotten-{name}").touch()


def main(words: list[str]) -> None:
    verbs: dict[str, Callable[[], None]] = {"agent": agent, "prepare": prepare, "ready": ready, "gate": gate}
    if len(words) == 1 and words[0] in verbs:
        verbs[words[0]]()
    elif len(words) == 2 and words[0] == "forget":
        forget(words[1])
    else:
        die(f"not a verb: {' '.join(words)}")


def run() -> None:
    """The program: its words are the arguments of the process."""
    load(os.environ)
    main(sys.argv[1:])
