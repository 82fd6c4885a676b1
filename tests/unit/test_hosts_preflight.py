"""Preflight: every mistake of a server, as one list, with nothing changed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jarvis.core.text import read_beside
from jarvis.hosts import preflight
from jarvis.hosts.agreement import disagreements, facts
from jarvis.remote.script import read_file
from tests.unit.fakes import Commands

WANTED = {
    "environment": "dev",
    "server": "jarvis-1",
    "address": "192.0.2.11",
    "min_cores": "2",
    "min_memory_mib": "3500",
    "min_disk_gib": "10",
    "time_sync": "yes",
    "max_skew": "5",
    "not_before": "1000",
    "ports": "2379,10250",
    "deployment": "11111111-1111-4111-8111-111111111111",
}
MACHINE_ID = "0123456789abcdef0123456789abcdef"
OTHER = "22222222-2222-4222-8222-222222222222"


class Box:
    """A server that is fit, made of files and commands; a test takes something away."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.commands = Commands(folder / "bin")
        self.wanted = dict(WANTED)
        self.write("etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
        self.write("etc/machine-id", f"{MACHINE_ID}\n")
        self.write("proc/meminfo", "MemTotal:       8000000 kB\nMemFree: 1 kB\n")
        self.write("proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n\tsquashfs\n")
        self.write("proc/self/status", "Name:\tbash\nSeccomp_filters:\t0\n")
        self.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n")
        for path in ("dev/loop-control", "dev/net/tun", "proc/sys/net/netfilter/nf_conntrack_max"):
            self.write(path, "")
        self.write("proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")
        for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts"):
            self.write(f"proc/self/ns/{name}", "")
        for folder_name in ("sys/module/bridge", "run/systemd/system", "var"):
            (self.root / folder_name).mkdir(parents=True)
        for name, output in {
            "id": "0",
            "uname": "x86_64",
            "nproc": "4",
            "df": " Avail\n 20480\n",
            "ip": "1: lo    inet 127.0.0.1/8\n2: eth0    inet 192.0.2.11/24 scope global eth0\n",
            "ss": 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))\n',
            "timedatectl": "yes\n",
            "hostname": "jarvis-1\n",
            "date": "1003\n",
            "systemd-sysext": "",
            "nft": "",
            "rabbitmqctl": "fresh\n",
        }.items():
            self.commands.say(name, output)
        self.commands.say("modprobe", "", 1)
        self.commands.add(
            "systemctl",
            f'state=$(cat "{folder}/units/${{@: -1}}" 2>/dev/null); '
            '[[ "$*" = *--quiet* ]] || echo "${state:-inactive}"; [ "$state" = active ]',
        )
        self.units = folder / "units"
        self.units.mkdir()

    def runs(self, unit: str, pid: int, state: str = "active") -> None:
        """A unit that runs, by one process."""
        (self.units / unit).write_text(state)
        self.write(f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self) -> tuple[int, str, list[str]]:
        """Status, stdout, and the list of failures."""
        words = [f"{key}={value}" for key, value in self.wanted.items()]
        before = sorted(self.root.rglob("*"))
        # As it is sent: by stdin, behind what it uses.
        run = subprocess.run(
            ["bash", "-s", "--", *words],
            env={"PATH": f"{self.commands.folder}:{os.environ['PATH']}", "JARVIS_ROOT": str(self.root)},
            input=read_file("packaged.sh") + read_beside(preflight.__file__, "preflight.sh"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert sorted(self.root.rglob("*")) == before, "a preflight changes nothing"
        lines = run.stderr.splitlines()
        if run.returncode:
            head = "error: server jarvis-1 is not fit; nothing has been changed there:"
            assert lines[0] == head, run.stderr
        return run.returncode, run.stdout, [line.removeprefix("  - ") for line in lines[1:]]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_fit_server_tells_what_all_together_are_compared_by(box: Box) -> None:
    assert box.check() == (0, f"machine-id {MACHINE_ID}\nhostname jarvis-1\ntime 1003\n", [])


def let_cloud_init_write_hosts(box: Box) -> None:
    """The image has cloud-init leave /etc/hosts alone; the instance's configuration, which wins, does not."""
    box.write("etc/cloud/cloud.cfg.d/99-own.cfg", "manage_etc_hosts: false\n")
    box.write("var/lib/cloud/instance/cloud-config.txt", "manage_etc_hosts: localhost\n")


Change = Callable[[Box], object]

MISTAKES: list[tuple[Change, str]] = [
    (lambda b: b.commands.say("id", "1000"), "user: "),
    (
        lambda b: b.write("etc/os-release", "ID=ubuntu\nVERSION_ID=24.04\nPRETTY_NAME=Ubuntu\n"),
        "operating system: Ubuntu",
    ),
    (
        lambda b: b.write("etc/os-release", "ID=debian\nVERSION_ID=11\nPRETTY_NAME=Debian-11\n"),
        "operating system: ",
    ),
    (lambda b: (b.root / "etc/os-release").unlink(), "operating system: unknown"),
    (lambda b: b.commands.say("uname", "aarch64"), "architecture: aarch64"),
    (lambda b: (b.root / "run/systemd/system").rmdir(), "init: "),
    (lambda b: b.commands.say("nproc", "1"), "cores: 1; 2 are needed (preflight.min_cores)"),
    (lambda b: b.write("proc/meminfo", "MemTotal: 2048000 kB\n"), "memory: 2000 MiB; 3500 are needed"),
    (lambda b: b.write("sys/fs/cgroup/memory.max", "1073741824\n"), "memory: 1024 MiB; 3500 are needed"),
    (lambda b: b.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"), "memory: 2048 MiB"),
    (
        lambda b: b.commands.say("df", " Avail\n 10239\n"),
        "disk: 10239 MiB free below /var; 10 GiB are needed",
    ),
    (lambda b: b.write("proc/filesystems", "\tsquashfs\n"), "kernel: overlay is missing"),
    (lambda b: b.write("proc/filesystems", "overlay\n"), "kernel: squashfs is missing"),
    (lambda b: (b.root / "dev/loop-control").unlink(), "kernel: loop is missing"),
    (lambda b: b.commands.say("nft", "", 1), "kernel: nf_tables is missing"),
    (lambda b: (b.root / "sys/module/bridge").rmdir(), "kernel: bridge is missing"),
    (lambda b: b.write("proc/self/status", "Name: bash\n"), "kernel: seccomp filters is missing"),
    (
        lambda b: b.write("sys/fs/cgroup/cgroup.controllers", "cpu cpuset pids\n"),
        "kernel: cgroup controller memory",
    ),
    (lambda b: (b.root / "proc/self/ns/net").unlink(), "kernel: net namespaces is missing"),
    (lambda b: b.commands.say("timedatectl", "no\n"), "time: no time service is at work"),
    (lambda b: b.commands.say("date", "900\n"), "time: the clock is 100 s behind"),
    (lambda b: b.write("etc/machine-id", "uninitialized\n"), "machine-id: "),
    (
        lambda b: b.commands.say("ip", "2: eth0    inet 192.0.2.111/24 scope global\n"),
        "address: no interface has 192.0.2.11 ",
    ),
    (
        lambda b: b.write("etc/cloud/cloud.cfg", "users:\n - default\nmanage_etc_hosts: true\n"),
        "hosts: cloud-init writes /etc/hosts anew at each boot (manage_etc_hosts: false in /etc/cloud",
    ),
    (
        let_cloud_init_write_hosts,
        "hosts: cloud-init writes /etc/hosts anew at each boot (manage_etc_hosts: false in /var/lib/cloud",
    ),
    (
        lambda b: b.commands.say("ss", 'LISTEN 0 9 *:10250 *:* users:(("kubelet",pid=7,fd=1))\n'),
        'port: 10250 is in use by "kubelet"',
    ),
    (
        lambda b: b.write("var/lib/jarvis/cluster", "production jarvis-1\n"),
        "cluster: this is server 'jarvis-1' of the environment 'production'",
    ),
    (lambda b: b.write("var/lib/jarvis/cluster", "dev jarvis-2\n"), "cluster: this is server 'jarvis-2'"),
    (lambda b: b.write("etc/kubernetes/kubelet.conf", ""), "cluster: /etc/kubernetes/kubelet.conf is there"),
    (lambda b: b.write("var/lib/etcd/member/snap/db", ""), "cluster: /var/lib/etcd/member is there"),
]


@pytest.mark.parametrize(("spoil", "failure"), MISTAKES, ids=[failure for _, failure in MISTAKES])
def test_each_mistake_is_named(box: Box, spoil: Change, failure: str) -> None:
    spoil(box)
    status, _, failures = box.check()
    assert status == 1
    assert [line for line in failures if line.startswith(failure)] == failures
    assert len(failures) == 1


def test_all_mistakes_come_at_once(box: Box) -> None:
    box.commands.say("nproc", "1")
    box.commands.say("uname", "aarch64")
    box.write("etc/machine-id", "")
    box.commands.say("timedatectl", "no")
    assert [line.split(":")[0] for line in box.check()[2]] == ["architecture", "cores", "time", "machine-id"]


def test_a_module_that_can_be_loaded_is_there(box: Box) -> None:
    (box.root / "sys/module/bridge").rmdir()
    box.commands.say("nft", "", 1)
    box.commands.say("modprobe", "")
    assert box.check()[0] == 0
    assert all("--dry-run" in call for call in box.commands.calls("modprobe"))


def test_cgroup_version_one_has_its_own_list(box: Box) -> None:
    (box.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    rows = "".join(f"{name}\t1\t2\t1\n" for name in ("cpu", "cpuset", "memory"))
    box.write("proc/cgroups", f"#subsys_name\thierarchy\tnum_cgroups\tenabled\n{rows}pids\t1\t2\t0\n")
    assert box.check()[2] == ["kernel: cgroup controller pids is missing"]


def test_a_time_service_is_not_asked_for_where_none_is_wanted(box: Box) -> None:
    box.wanted["time_sync"] = "no"
    box.commands.say("timedatectl", "no")
    assert box.check()[0] == 0


def test_a_cloud_init_that_leaves_hosts_alone_is_fine(box: Box) -> None:
    box.write("etc/cloud/cloud.cfg", "manage_etc_hosts: true\n")
    box.write("etc/cloud/cloud.cfg.d/99-own.cfg", "manage_etc_hosts: false\n")
    assert box.check()[0] == 0
    (box.root / "etc/cloud/cloud.cfg.d/99-own.cfg").unlink()
    box.write("etc/cloud/cloud-init.disabled", "")
    assert box.check()[0] == 0


def test_a_server_that_is_ours_may_use_its_ports_and_its_disk(box: Box) -> None:
    box.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
    box.write("var/lib/jarvis/deployment", f"{WANTED['deployment']}\n")
    box.write("var/lib/etcd/member/snap/db", "")
    box.commands.say("ss", 'LISTEN 0 9 *:2379 *:* users:(("etcd",pid=7,fd=1))\n')
    box.commands.say("df", " Avail\n 2048\n")
    assert box.check()[0] == 0


LISTENING = """LISTEN 0 80 127.0.0.1:3306 0.0.0.0:* users:(("mariadbd",pid=61,fd=19))
LISTEN 0 128 *:25672 *:* users:(("beam.smp",pid=62,fd=18))
"""


def _with_packages(box: Box) -> None:
    """What Debian's packages leave, of which all services run."""
    box.wanted |= {"ports": "3306,25672", "packages": "haproxy,keepalived,mariadb-server,rabbitmq-server"}
    box.commands.say("ss", LISTENING)
    box.runs("mariadb.service", 61)
    box.runs("rabbitmq-server.service", 62)
    for name in ("mysql", "performance_schema", "sys"):
        (box.root / "var/lib/mysql" / name).mkdir(parents=True)
    box.write("var/lib/rabbitmq/mnesia/rabbit@jarvis-1/schema.DAT", "")


def test_swap_that_comes_by_itself_is_told_where_a_kubelet_is(box: Box) -> None:
    """Systemd's own is turned off by the deployment."""
    box.write("proc/swaps", "Filename Type Size Used Priority\n/dev/vdc partition 524284 0 -2\n")
    assert box.check()[0] == 0
    box.write("proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 524284 0 100\n")
    box.commands.say("systemctl", "zramswap.service enabled enabled\n")
    (failure,) = box.check()[2]
    assert failure == (
        "swap: zramswap.service turns it on at each boot (systemctl disable --now zramswap.service)"
    )
    box.wanted["ports"] = "2379"
    assert box.check()[0] == 0


def test_services_as_their_packages_made_them_are_no_mistake(box: Box) -> None:
    _with_packages(box)
    assert box.check()[2] == []
    assert len(box.commands.calls("rabbitmqctl")) == 1


def test_data_of_somebody_in_a_packages_service_is_told_all_at_once(box: Box) -> None:
    _with_packages(box)
    (box.root / "var/lib/mysql/photos").mkdir()
    box.commands.say("rabbitmqctl", '{queue,<<"orders">>}\n')
    mariadb, rabbitmq = box.check()[2]
    assert mariadb.startswith("mariadb: /var/lib/mysql has a database photos, which is not Jarvis' (")
    assert "systemctl disable --now mariadb.service && mv /var/lib/mysql /var/lib/mysql.before" in mariadb
    assert rabbitmq.startswith(
        'rabbitmq: the queue that is here has {queue,<<"orders">>}, and is not Jarvis\' ('
    )
    assert "systemctl disable --now rabbitmq-server.service epmd.service epmd.socket && mv " in rabbitmq


def test_a_database_of_somebody_is_found_while_its_service_is_stopped(box: Box) -> None:
    _with_packages(box)
    (box.root / "var/lib/mysql/photos").mkdir()
    (box.units / "mariadb.service").unlink()
    box.commands.say("ss", "")
    (mariadb,) = box.check()[2]
    assert mariadb.startswith("mariadb: ")


@pytest.mark.parametrize("stopped", [True, False])
def test_a_queue_that_cannot_be_asked_is_not_taken(box: Box, stopped: bool) -> None:
    _with_packages(box)
    if stopped:
        (box.units / "rabbitmq-server.service").unlink()
    box.commands.say("rabbitmqctl", "Error: unable to perform an operation on node 'rabbit@jarvis-1'\n", 69)
    (failure,) = box.check()[2]
    assert failure.startswith("rabbitmq: the queue that is here has ")
    assert ("does not run" in failure) == stopped


def test_a_queue_that_is_starting_is_waited_for(box: Box) -> None:
    _with_packages(box)
    box.runs("rabbitmq-server.service", 62, "activating")
    box.commands.add("sleep", f'printf active >"{box.units}/rabbitmq-server.service"')
    assert box.check()[2] == []
    assert box.commands.calls("sleep") == ["sleep 1"]


def test_services_of_a_role_of_ours_are_not_looked_at(box: Box) -> None:
    _with_packages(box)
    box.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
    box.write("var/lib/jarvis/deployment", f"{WANTED['deployment']}\n")
    box.write("var/lib/jarvis/roles/queue/units", "epmd.socket\nrabbitmq-server.service\n")
    box.write("var/lib/jarvis/roles/database/units", "mariadb.service\n")
    (box.root / "var/lib/mysql/photos").mkdir()
    assert box.check()[2] == []
    assert box.commands.calls("rabbitmqctl") == []


def test_a_port_comes_with_the_command_that_frees_it(box: Box) -> None:
    box.commands.say("ss", 'LISTEN 0 9 *:10250 *:* users:(("nginx",pid=7,fd=1),("nginx",pid=8,fd=1))\n')
    box.runs("nginx.service", 7)
    (failure,) = box.check()[2]
    assert failure == 'port: 10250 is in use by "nginx" (systemctl disable --now nginx.service)'


def test_a_server_that_another_state_deployed_is_refused_with_the_way_out(box: Box) -> None:
    box.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
    box.write("var/lib/jarvis/deployment", f"{OTHER}\n")
    for known in ("no", "yes"):
        box.wanted["known"] = known
        status, _, failures = box.check()
        assert status == 1
        (failure,) = failures
        assert failure.startswith(
            f"deployment: another state deployed this server, with other keys: its id is {OTHER}"
        )
        for way in ("restore that state", "pulumi destroy", f"take_over: {OTHER}"):
            assert way in failure


def test_a_take_over_names_whose_server_it_is(box: Box) -> None:
    box.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
    box.write("var/lib/jarvis/deployment", f"{OTHER}\n")
    box.wanted["take_over"] = WANTED["deployment"].replace("1", "3")
    assert box.check()[0] == 1
    box.wanted["take_over"] = OTHER
    assert box.check()[0] == 0


def test_a_server_of_before_there_were_ids_is_its_own_states(box: Box) -> None:
    box.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
    (failure,) = box.check()[2]
    unnamed = f"unnamed-{MACHINE_ID[:12]}"
    assert f"its id is {unnamed}," in failure
    box.wanted["take_over"] = unnamed
    assert box.check()[0] == 0
    del box.wanted["take_over"]
    box.wanted["known"] = "yes"
    assert box.check()[0] == 0


def _output(**changes: str) -> str:
    values = {"machine-id": MACHINE_ID, "hostname": "jarvis-1", "time": "1000"} | changes
    return "".join(f"{key} {value}\n" for key, value in values.items())


def test_servers_that_differ_go_together() -> None:
    servers = {"a": _output(), "b": _output(**{"machine-id": "f" * 32, "hostname": "jarvis-2"})}
    assert disagreements(servers, 5, 1000.5) == []
    assert facts(servers["a"])["machine-id"] == MACHINE_ID


def test_copies_of_one_disk_are_found() -> None:
    found = disagreements({"a": _output(), "b": _output(), "c": _output(**{"machine-id": "f" * 32})}, 5, 1000)
    assert [line.split(" (")[0] for line in found] == [
        f"machine-id: a and b have the same, {MACHINE_ID}",
        "hostname: a and b and c have the same, jarvis-1",
    ]


def test_a_clock_ahead_is_found() -> None:
    assert disagreements({"a": _output(time="1005")}, 5, 1000) == []
    (found,) = disagreements({"a": _output(time="1007")}, 5, 1000)
    assert found.startswith("time: the clock of a is 7 s ahead")


def test_an_osd_takes_no_file_that_is_there(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.wanted |= {"osd_file": "/var/lib/ceph/osd.img", "osd_gib": "8"}
    assert box.check()[0] == 0
    box.write("var/lib/ceph/osd.img", "somebody's")
    _, _, failures = box.check()
    assert [line for line in failures if "osd: /var/lib/ceph/osd.img is there" in line]
    box.write("var/lib/ceph/osd/jarvis/fsid", "ours")
    assert box.check()[0] == 0


def test_an_osd_wants_the_space_it_is_given(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.wanted |= {"osd_file": "/var/lib/ceph/osd.img", "osd_gib": "21"}
    _, _, failures = box.check()
    assert failures == [
        "osd: 20480 MiB free below /var; 21 GiB are asked for (field osd.size_gib of the server)"
    ]


def test_an_osd_wants_a_device_that_is_one(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.wanted |= {"osd_device": "/dev/disk/by-id/none"}
    _, _, failures = box.check()
    assert failures == ["osd: /dev/disk/by-id/none is not a block device (field osd.device of the server)"]


def _interfaces(box: Box) -> None:
    box.commands.add(
        "ip",
        """case "$*" in
  *"dev eth0") echo "2: eth0    inet 192.0.2.11/24 scope global eth0" ;;
  *"dev eth1") echo "3: eth1    inet 192.0.2.12/24 scope global eth1" ;;
  *dev*) echo "Device does not exist." >&2; exit 1 ;;
  *link*) echo "1: lo: <UP>"; echo "2: eth0@if7: <UP>"; echo "3: eth1: <UP>" ;;
  *) echo "2: eth0    inet 192.0.2.11/24 scope global eth0" ;;
esac""",
    )


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ("eth0", ""),
        ("eth1", "interface: eth1 does not have 192.0.2.11 (field interface of the server: leave it empty)"),
        ("ens3", "interface: there is no ens3; there are lo eth0 eth1 (field interface of the server)"),
    ],
)
def test_the_interface_of_the_configuration_has_the_address(box: Box, interface: str, said: str) -> None:
    _interfaces(box)
    box.wanted["interface"] = interface
    assert box.check()[2] == ([said] if said else [])


def test_memory_that_is_missing_names_the_fields_that_ask_for_it(box: Box) -> None:
    box.wanted |= {"min_memory_mib": "100512", "memory_fields": "database.buffer_pool_mib,queue.memory_mib"}
    (said,) = box.check()[2]
    assert said.endswith("100512 are needed (database.buffer_pool_mib,queue.memory_mib)")
