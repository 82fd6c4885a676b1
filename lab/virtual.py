"""A server as a virtual machine: QEMU, with KVM where a guest really runs on it, else by translation (TCG).

It has what a box cannot have: a kernel of its own with its modules, udev, AppArmor, swap, disks, interface
names, a real reboot. Its process is PID 1 of a namespace of its own: it is found, and loses its power, as a
box does.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from lab import image, network, procs
from lab.model import Server, Settings, State, write
from lab.shell import LabError, run

# The disk for the storage, a device of its own; it takes space as it fills.
OSD_SIZE, SWAP_SIZE = "8G", "512M"
# The network card's slot gives the interface its name (systemd.net-naming-scheme(7), by hotplug slot).
SLOT = 3
INTERFACE = f"ens{SLOT}"
# A kernel without a root says so within a second where the processor is real.
PROBE_SECONDS = 15
# A translated processor speculates about nothing: what keeps a real one from telling secrets by that only
# takes time, most of all a table of pages of its own for the kernel. Its counter is the machine's, and needs
# no watch by a timer that comes late where the machine is busy.
TRANSLATED = "mitigations=off tsc=nowatchdog"


def interfaces(settings: Settings, server: Server) -> str:
    """/etc/network/interfaces as the installer writes it for an address that was typed in."""
    return (
        "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n"
        f"allow-hotplug {INTERFACE}\niface {INTERFACE} inet static\n"
        f"\taddress {server.address}/{settings.subnet.prefixlen}\n\tgateway {settings.gateway}\n"
        f"iface {INTERFACE} inet6 auto\n"
    )


def make_disks(settings: Settings, state: State, server: Server, home: Path, seed: Path) -> None:
    """Make the disks of a server, what is its own on the first; that one is last: with it all is there."""
    write(seed / "etc/network/interfaces", interfaces(settings, server), 0o644)
    for name, size in (("osd.img", OSD_SIZE), ("swap.img", SWAP_SIZE)):
        (home / name).unlink(missing_ok=True)
        run(["truncate", "-s", size, str(home / name)])
    run(["mkswap", str(home / "swap.img")])
    part = home / "disk.part"
    run(["cp", "--sparse=always", str(image.disk(state.image, state.disk)), str(part)], timeout=300)
    # In a mount namespace that ends with the command.
    script = 'mount -o loop "$1" "$3"; cp -r --preserve=mode "$2/." "$3/"; umount "$3"'
    with tempfile.TemporaryDirectory() as folder:
        argv = ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", script, "seed"]
        run([*argv, str(part), str(seed), folder], timeout=120)
    part.rename(home / "disk.ext4")


def accelerator(key: str) -> list[str]:
    """The options of QEMU for the processor: KVM where the image's kernel really starts on it, else TCG.

    A machine may have /dev/kvm and run no guest on it. Started without a root, a kernel that runs panics.
    """
    slow = ["-accel", "tcg,thread=multi", "-cpu", "Westmere"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return slow
    kernel, _ = image.boot(key)
    fast = ["-accel", "kvm", "-cpu", "host"]
    argv = ["qemu-system-x86_64", *fast, "-m", "256", "-display", "none", "-nodefaults", "-no-reboot"]
    argv += ["-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"]
    try:
        said = run(argv, timeout=PROBE_SECONDS, check=False)
    except LabError:
        return slow
    return fast if "Kernel panic" in said else slow


def command(settings: Settings, state: State, server: Server, home: Path, processor: list[str]) -> list[str]:
    """The command of QEMU that is the server."""
    kernel, initial = image.boot(state.image)
    argv = ["qemu-system-x86_64", "-name", server.name, "-machine", "pc", *processor, "-smp", "2"]
    argv += ["-m", state.memory.upper(), "-display", "none", "-nodefaults", "-device", "virtio-rng-pci"]
    argv += ["-chardev", f"file,id=console,path={home / 'console.log'}", "-serial", "chardev:console"]
    argv += ["-kernel", str(kernel), "-initrd", str(initial)]
    more = f" {TRANSLATED}" if "kvm" not in processor else ""
    argv += ["-append", f"root=/dev/vda ro console=tty0 console=ttyS0{more}"]
    # In the order of their slots: vda, vdb, vdc. What a server has synced must outlast it, not this machine:
    # for that a file that is written is enough.
    for slot, (name, file) in enumerate((("root", "disk.ext4"), ("osd", "osd.img"), ("swap", "swap.img")), 5):
        argv += ["-drive", f"file={home / file},format=raw,if=none,id={name},cache=unsafe,discard=unmap"]
        argv += ["-device", f"virtio-blk-pci,drive={name},serial={name},addr={slot:#x}"]
    argv += ["-netdev", f"tap,id=net,ifname={server.name},script=no,downscript=no"]
    return [*argv, "-device", f"virtio-net-pci,netdev=net,mac={server.mac},addr={SLOT:#x}"]


def start(settings: Settings, state: State, server: Server, home: Path) -> None:
    """Power a server on; returns when its process was started. Nothing of a former one is left by then."""
    processor = accelerator(state.image)
    network.tap(server.name, settings)
    argv = command(settings, state, server, home, processor)
    mark = procs.mark(settings.name, server.name, settings.state)
    environment = {"PATH": os.environ["PATH"], "LAB_HOME": str(home), procs.MARK: mark}
    with (home / "qemu.log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return
    said = (home / "qemu.log").read_text(errors="replace").strip().splitlines()
    raise LabError(f"server {server.name} did not start: {' | '.join(said[-3:]) or 'no output'}")


def inside(
    settings: Settings, server: Server, argv: list[str], home: Path, timeout: float, check: bool
) -> str:
    """Run a command in a server, by SSH: there is no other way in."""
    # Quoted, since ssh splits the value at blanks.
    known = home / "known_hosts"
    options = ["BatchMode=yes", "ConnectTimeout=10", f'UserKnownHostsFile="{known}"']
    options += ["GlobalKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes"]
    words = [word for option in options for word in ("-o", option)]
    there = ["ssh", "-F", "none", "-i", str(settings.client_key), *words, f"root@{server.address}"]
    return run([*there, "--", shlex.join(argv)], timeout=timeout, check=check)


def memory(pid: int, cap: str) -> tuple[int, int]:
    """Bytes of memory that the process of a server uses, and what the server was given."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        pages = 0
    return pages * os.sysconf("SC_PAGE_SIZE"), int(cap[:-1]) << {"m": 20, "g": 30}[cap[-1]]
