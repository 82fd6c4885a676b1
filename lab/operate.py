"""The verbs of the lab: what each does to the whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lab import health, image, kernel, limits, machine, network, procs
from lab.model import USER, Server, Settings, State, keypair, load, new_server, run_dir_of, save, write
from lab.shell import LabError, run, say, step

# What a server's programs ask the kernel for. modprobe does not know those that are built in, which is fine.
MODULES = (
    "loop",
    "overlay",
    "squashfs",
    "veth",
    "bridge",
    "br_netfilter",
    "tun",
    "nf_tables",
    "nf_conntrack",
    "vxlan",
)


def remember(settings: Settings) -> State:
    """The lab's memory; LabError when there is no such lab."""
    state = load(settings.file)
    if state is None:
        raise LabError(f"there is no lab {settings.name} in {settings.state}: `python -m lab up` makes it")
    return state


def _each(servers: Sequence[Server], work: Callable[[Server], object]) -> None:
    """Do something with all servers at the same time; the first error is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
        jobs = [pool.submit(work, server) for server in servers]
    for job in jobs:
        job.result()


def _claim(settings: Settings, names: list[str]) -> None:
    """Make sure names and subnet are ours to use; clears labs that nobody uses any more.

    Raises LabError for what no lab made, and for a lab that is in use.
    """
    strangers, labs = network.obstacles(settings, names)
    if strangers:
        raise LabError(
            f"lab {settings.name} cannot be: {'; '.join(strangers)}. "
            "Choose another --subnet or --name, or remove what is in the way"
        )
    running = [box for box in procs.boxes() if box.state != settings.state]
    labs |= {box.state for box in running if box.lab == settings.name}
    for other in sorted(labs):
        alive = [box for box in running if box.state == other]
        if alive and _in_use(other):
            raise LabError(
                f"{', '.join(sorted(box.server for box in alive))} of the lab in {other} use this name or "
                f"subnet: stop it by `python -m lab down --name {alive[0].lab} --state {other}`, "
                "or choose another --name and --subnet"
            )
        say(f"lab: clearing what the lab in {other} left behind")
        _clear_foreign(other, alive)


def _in_use(folder: Path) -> bool:
    """Whether the lab with that state folder still has someone who wants it."""
    try:
        state = load(folder / "lab.json")
    except LabError:
        return False
    if state is None:
        return False
    return state.owner is None or procs.birth(state.owner[0]) == state.owner[1]


def _clear_foreign(folder: Path, alive: list[procs.Box]) -> None:
    """Take a lab of another state folder off the machine; its files stay."""
    for box in alive:
        procs.kill(box.pid)
    for name in {box.lab for box in alive} | {folder.name}:
        run_dir = run_dir_of(name, folder)
        group = f"/jarvis-lab/{run_dir.name}"
        for pid in kernel.group_members(group):
            procs.kill(pid)
        kernel.remove_groups(group)
        shutil.rmtree(run_dir, ignore_errors=True)
    network.remove(folder)
    for disk in folder.glob("servers/*/disk.ext4"):
        kernel.release_loops(disk)


def clear_leftovers() -> None:
    """Take every lab off the machine whose folder is gone or whose owner has ended."""
    running = list(procs.boxes())
    for folder in sorted({box.state for box in running} | network.makers()):
        if not _in_use(folder):
            say(f"lab: clearing what the lab in {folder} left behind")
            _clear_foreign(folder, [box for box in running if box.state == folder])


def up(settings: Settings) -> None:
    """Bring every server of the lab up, making what is missing; says so when nothing had to be done."""
    state = load(settings.file)
    key = image.digest(settings.kind)
    if state is None:
        state = State(settings.name, str(settings.subnet), settings.memory, settings.disk, key)
    elif state.kind != settings.kind:
        raise LabError(
            f"lab {state.name} is of the kind {state.kind}: `python -m lab down --name {state.name}` first"
        )
    elif (state.subnet, state.name) != (str(settings.subnet), settings.name):
        raise LabError(
            f"lab {state.name} has the subnet {state.subnet}, not {settings.subnet}: "
            f"`python -m lab down --name {state.name}` first"
        )
    if (state.memory, state.disk) != (settings.memory, settings.disk):
        say(f"lab: {state.name} keeps memory {state.memory} and disk {state.disk} until `down` and `up`")
    if state.image != key:
        say(f"lab: {state.name} keeps its image {state.image}: `down` and `up` for the new one, {key}")
    servers = list(state.servers)
    while len(servers) < settings.count:
        servers.append(new_server(settings, servers))
    _claim(settings, [server.name for server in servers])
    if state.image == key:
        image.ensure(settings.kind)
    birth = procs.birth(settings.owner) if settings.owner is not None else None
    owner = (settings.owner, birth) if settings.owner is not None and birth is not None else None
    changed = (state.servers, state.owner) != (servers, owner)
    state.servers, state.owner = servers, owner
    if changed:
        save(settings.file, state)
    changed |= network.bridge_up(settings)
    changed |= limits.widen()
    off = [server for server in servers if machine.find(settings, server) is None]
    start(settings, state, off)
    # A start that was interrupted may have left the others anywhere between power and login.
    _each([server for server in servers if server not in off], partial(health.wait_ready, settings))
    health.check_neighbours(settings, servers)
    changed |= _write_known_hosts(settings, servers)
    if not off and not changed:
        say(f"lab: {settings.name}: all {len(servers)} servers are up, nothing changed")


def _write_known_hosts(settings: Settings, servers: Sequence[Server]) -> bool:
    """Write the servers' host keys as OpenSSH reads them; True when that changed anything."""
    text = "".join(f"{server.address} {machine.host_key(settings, server)}\n" for server in servers)
    if settings.known_hosts.exists() and settings.known_hosts.read_text() == text:
        return False
    write(settings.known_hosts, text, 0o644)
    return True


def start(settings: Settings, state: State, servers: Sequence[Server]) -> None:
    """Power servers on side by side and wait until each is ready."""

    def one(server: Server) -> None:
        machine.prepare(settings, state, server)
        machine.start(settings, state, server)
        health.wait_ready(settings, server)

    if not servers:
        return
    if shutil.which("modprobe"):
        run(["modprobe", "--all", "--quiet", *MODULES], check=False)
    # Once, before the servers ask for them at the same time.
    image.disk(state.image, state.disk)
    keypair(settings.client_key, f"lab-{settings.name}")
    with step(f"starting {', '.join(server.name for server in servers)}"):
        _each(servers, one)


def down(settings: Settings) -> None:
    """Remove the lab: servers, disks, keys, bridge, and whatever a killed one left behind."""
    try:
        state = load(settings.file)
    except LabError:
        state = None
    mine = [box for box in procs.boxes() if box.state == settings.state]
    names = {server.name for server in state.servers} if state else set()
    names |= {box.server for box in mine}
    if (settings.state / "servers").is_dir():
        names |= {folder.name for folder in (settings.state / "servers").iterdir()}
    there = bool(names) or settings.state.exists()
    with step(f"removing lab {settings.name}"):
        servers = [Server(name=name, address="", machine_id="") for name in sorted(names)]
        _each(servers, lambda server: machine.power_off(settings, server))
        there |= bool(network.remove(settings.state))
        kernel.remove_groups(f"/jarvis-lab/{settings.run_dir.name}")
        shutil.rmtree(settings.run_dir, ignore_errors=True)
        shutil.rmtree(settings.state, ignore_errors=True)
        if not (network.makers() or any(True for _ in procs.boxes())):
            limits.restore()
    if not there:
        say(f"lab: {settings.name}: there was nothing to remove")


def power_off(settings: Settings, name: str) -> None:
    """Pull the plug of a server."""
    server = remember(settings).server(name)
    if machine.power_off(settings, server):
        say(f"lab: {name} is off")
    else:
        say(f"lab: {name} was off already, nothing changed")


def power_on(settings: Settings, name: str) -> None:
    """Power a server on, and wait until it is ready."""
    state = remember(settings)
    server = state.server(name)
    if machine.find(settings, server) is not None:
        say(f"lab: {name} is on already, nothing changed")
        return
    _claim(settings, [server.name for server in state.servers])
    network.bridge_up(settings)
    start(settings, state, [server])


def add(settings: Settings, name: str | None) -> Server:
    """Add a server at the next free address, and start it."""
    state = remember(settings)
    server = new_server(settings, state.servers, name)
    _claim(settings, [server.name])
    state.servers.append(server)
    save(settings.file, state)
    network.bridge_up(settings)
    start(settings, state, [server])
    _write_known_hosts(settings, state.servers)
    return server


def configuration(settings: Settings) -> dict[str, object]:
    """The lab as a deployment's configuration sees it: plain values, nothing that says it is a lab."""
    state = remember(settings)
    return {
        "name": state.name,
        "network": state.subnet,
        "gateway": str(settings.gateway),
        "virtual_address": str(settings.virtual_address),
        "private_key_path": str(settings.client_key),
        "known_hosts_path": str(settings.known_hosts),
        "servers": [
            {"name": s.name, "address": s.address, "user": USER, "host_key": machine.host_key(settings, s)}
            for s in state.servers
        ],
    }
