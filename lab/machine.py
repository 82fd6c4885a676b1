"""One server: its files, starting it, pulling its plug."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab import image, kernel, network, procs, virtual
from lab.model import Server, Settings, State, keypair, write
from lab.shell import LabError, run, wait_for

# The control group of all labs' servers.
GROUP = "jarvis-lab"
LAUNCH = Path(__file__).resolve().parent / "launch.sh"


@dataclass(frozen=True)
class Places:
    """Files and folders of one server on the machine."""

    home: Path
    run_dir: Path

    @property
    def disk(self) -> Path:
        """The server's disk, a sparse file."""
        return self.home / "disk.ext4"

    @property
    def seed(self) -> Path:
        """What goes on the disk at the first boot: host key, machine-id, names, who may log in."""
        return self.home / "seed"

    @property
    def host_key(self) -> Path:
        """Private host key of sshd."""
        return self.seed / "etc/ssh/ssh_host_ed25519_key"


def places(settings: Settings, name: str) -> Places:
    """Where a server's files are."""
    # podman takes no run folder of more than 50 characters: the lab's name stands in it once.
    run_dir = settings.run_dir / name.removeprefix(f"{settings.name}-")
    return Places(home=settings.state / "servers" / name, run_dir=run_dir)


def cgroup(settings: Settings, name: str) -> str:
    """The control group that holds the whole server, in each hierarchy."""
    return f"/{GROUP}/{settings.run_dir.name}/{name}"


def installed_hosts(name: str) -> str:
    """/etc/hosts as Debian's installer leaves it on a server of that name (netcfg): its own name leads to
    127.0.1.1, and to nothing that others reach."""
    return (
        f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}.lab.internal\t{name}\n\n"
        "# The following lines are desirable for IPv6 capable hosts\n"
        "::1     localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"
    )


def prepare(settings: Settings, state: State, server: Server) -> None:
    """Make identity and disk of a server unless they are there; the disk is last: with it all is there."""
    at = places(settings, server.name)
    at.host_key.parent.mkdir(parents=True, exist_ok=True)
    keypair(at.host_key, f"root@{server.name}")
    client = keypair(settings.client_key, f"lab-{settings.name}")
    if at.disk.exists():
        return
    write(at.seed / "etc/machine-id", server.machine_id + "\n", 0o444)
    write(at.seed / "etc/hostname", server.name + "\n", 0o644)
    write(at.seed / "etc/hosts", installed_hosts(server.name), 0o644)
    (at.seed / "root/.ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    (at.seed / "root").chmod(0o700)
    write(at.seed / "root/.ssh/authorized_keys", f"{client} lab-{settings.name}\n")
    if state.kind == image.VIRTUAL:
        write(at.home / "known_hosts", f"{server.address} {host_key(settings, server)}\n")
        virtual.make_disks(settings, state, server, at.home, at.seed)
        return
    part = at.disk.with_suffix(".part")
    run(["cp", "--sparse=always", str(image.disk(state.image, state.disk)), str(part)])
    part.rename(at.disk)


def host_key(settings: Settings, server: Server) -> str:
    """The server's public host key, ``ssh-ed25519 AAAA…``."""
    return keypair(places(settings, server.name).host_key, f"root@{server.name}")


def find(settings: Settings, server: Server) -> procs.Box | None:
    """The server's PID 1 if it runs."""
    for box in procs.boxes():
        if (box.lab, box.server, box.state) == (settings.name, server.name, settings.state):
            return box
    return None


def runtime() -> str:
    """runc where there is one, else crun: both do on cgroup v2, crun refuses the hybrid layout of v1."""
    for name in ("runc", "crun"):
        if shutil.which(name):
            if name == "crun" and not (kernel.CGROUPS / "cgroup.controllers").exists():
                raise LabError("this machine has cgroup v1, where crun cannot start servers: install runc")
            return name
    raise LabError("neither runc nor crun is installed: run `make bootstrap` first")


def _limit(which: int, most: int) -> int:
    """The most a process started here may be given, without the right to raise hard limits."""
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _podman(settings: Settings, name: str) -> list[str]:
    """podman with storage, state and settings of this one server, away from everyone else's."""
    at = places(settings, name)
    argv = ["podman", "--root", str(at.home / "podman"), "--runroot", str(at.run_dir)]
    argv += ["--tmpdir", str(at.run_dir / "tmp"), "--storage-driver", "vfs"]
    return [*argv, "--cgroup-manager", "cgroupfs", "--runtime", runtime()]


def _environment(settings: Settings, name: str) -> dict[str, str]:
    """Environment for podman: nothing from the user's configuration of containers."""
    at = places(settings, name)
    conf = at.home / "containers.conf"
    write(conf, '[engine]\nevents_logger = "file"\nlock_type = "file"\n')
    storage = f'[storage]\ndriver = "vfs"\nrunroot = "{at.run_dir}"\ngraphroot = "{at.home / "podman"}"\n'
    write(at.home / "storage.conf", storage)
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TERM") if key in os.environ}
    return keep | {"CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(at.home / "storage.conf")}


def start(settings: Settings, state: State, server: Server) -> None:
    """Power a server on; returns when its PID 1 was started. Clears first what a killed one left behind."""
    at = places(settings, server.name)
    if not image.rootfs(state.image).is_dir():
        raise LabError(
            f"the image {state.image} of lab {settings.name} is gone from the cache: "
            "`python -m lab down` and `python -m lab up` make the lab anew"
        )
    clear(settings, server)
    if state.kind == image.VIRTUAL:
        virtual.start(settings, state, server, at.home)
        return
    mount = at.run_dir / "mnt"
    mount.mkdir(mode=0o700, parents=True, exist_ok=True)
    nofile = _limit(resource.RLIMIT_NOFILE, 1048576)
    nproc = _limit(resource.RLIMIT_NPROC, 30000)  # podman itself may have less than our hard limit
    podman = [*_podman(settings, server.name), "run", "--detach"]
    podman += ["--name", server.name, "--hostname", server.name, "--label", f"jarvis-lab={settings.name}"]
    podman += ["--privileged", "--systemd=always", "--cgroupns=private", "--network", "ns:/proc/self/ns/net"]
    podman += ["--cgroup-parent", cgroup(settings, server.name), "--memory", state.memory]
    # podman's own 2048 processes are too few for a server.
    podman += ["--pids-limit", "-1"]
    podman += ["--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}"]
    podman += ["--env", f"{procs.MARK}={procs.mark(settings.name, server.name, settings.state)}"]
    # The server has a resolver and names of its own.
    podman += ["--dns", "none", "--no-hosts"]
    # With a terminal systemd tells on the console what it starts.
    podman += ["--tty", "--env", "SYSTEMD_COLORS=0"]
    podman += ["--log-driver", "k8s-file", "--log-opt", "max-size=1mb"]
    podman += ["--log-opt", f"path={at.home / 'console.log'}"]
    environment = _environment(settings, server.name) | {
        "LAB_HOME": str(at.home),
        "LAB_DISK": str(at.disk),
        "LAB_IMAGE": str(image.rootfs(state.image)),
        "LAB_SEED": str(at.seed),
        "LAB_MOUNT": str(mount),
        "LAB_LINK": server.name,
        "LAB_BRIDGE": settings.bridge,
        "LAB_ALIAS": network.alias(settings.state),
        "LAB_ADDRESS": f"{server.address}/{settings.subnet.prefixlen}",
        "LAB_MAC": server.mac,
    }
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        close = "" if namespace == 3 else f"{namespace}<&-"
        # The launch script finds the machine's namespace at descriptor 3.
        script = f'exec 3<&{namespace} {close}; exec unshare --mount --net --propagation slave "$@"'
        try:
            run(["bash", "-c", script, "launch", str(LAUNCH), *podman], env=environment, pass_fds=[namespace])
            kernel.favour(GROUP)
        except LabError as error:
            clear(settings, server)
            raise LabError(f"server {server.name} did not start: {error}") from None
    finally:
        os.close(namespace)


def power_off(settings: Settings, server: Server) -> bool:
    """Pull the plug: all processes end at once, what was not synced is lost. False if it was off."""
    at = places(settings, server.name)
    box = find(settings, server)
    if box is not None:
        conmon = procs.parent(box.pid)
        disk = None
        with contextlib.suppress(OSError):
            disk = os.open(f"/proc/{box.pid}/root/var", os.O_RDONLY | os.O_DIRECTORY)
        procs.kill(box.pid)  # the kernel ends everything else in its pid namespace
        if disk is not None:
            # Never any file system but the server's own.
            if os.fstat(disk).st_dev in kernel.devices_on(at.disk):
                kernel.drop_unsynced(disk)
            os.close(disk)
        if conmon is not None and conmon != 1:
            # It tidies up after the server and ends by itself.
            with contextlib.suppress(LabError):
                wait_for(lambda: procs.birth(conmon) is None or None, limit=10, what="its end", pause=0.02)
    clear(settings, server)
    return box is not None


def clear(settings: Settings, server: Server) -> None:
    """Remove what a server that is off left here: podman's record, interface, loop devices, groups."""
    at = places(settings, server.name)
    # Until there are none: one that starts the server may just have made the next.
    while pids := procs.starters(at.home) | kernel.group_members(cgroup(settings, server.name)):
        for pid in pids:
            procs.kill(pid)
    if (at.home / "podman").exists():
        environment = _environment(settings, server.name)
        run(
            [*_podman(settings, server.name), "rm", "--force", "--time", "0", server.name],
            env=environment,
            check=False,
        )
    for folder in (at.home / "podman", at.run_dir):
        shutil.rmtree(folder, ignore_errors=True)
    network.remove_one(server.name, settings.state)
    if at.disk.exists():
        kernel.release_loops(at.disk)
    kernel.remove_groups(cgroup(settings, server.name))
