"""What a lab is made of, and the file that remembers it between commands."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.image import BOX, kind_of
from lab.shell import LabError, run

CHECKOUT = Path(__file__).resolve().parent.parent

FIRST_HOST = 11  # the first server's address in the subnet; below are the machine's own (.1) and spare ones
VIRTUAL_HOST = 100  # kept free of servers: the virtual address that the deployment moves between them
USER = "root"

_SIZE = re.compile(r"[1-9][0-9]*[mg]")
# A bridge is named br-<lab>, and the kernel allows 15 characters for the name of an interface.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}[a-z0-9]")


def run_dir_of(name: str, state: Path) -> Path:
    """The run folder of a lab, from its name and state folder."""
    return Path("/run/jarvis-lab") / f"{name}-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Settings:
    """The parameters of a lab. memory and disk are sizes such as ``4g``, per server; count is of servers."""

    name: str
    subnet: IPv4Network
    count: int
    memory: str
    disk: str
    state: Path
    kind: str = BOX  # of servers: box, or vm
    owner: int | None = None  # the lab is of no further use once this process has ended

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(f"--name {self.name!r}: 2 to 12 of a-z, 0-9 and -, beginning with a letter")
        if self.subnet.prefixlen > 25 or not self.subnet.is_private:
            raise LabError(f"--subnet {self.subnet}: a private network of /25 or larger is needed")
        if not 1 <= self.count <= VIRTUAL_HOST - FIRST_HOST:
            raise LabError(f"--count {self.count}: 1 to {VIRTUAL_HOST - FIRST_HOST} servers")
        for option, value in (("--memory", self.memory), ("--disk", self.disk)):
            if not _SIZE.fullmatch(value):
                raise LabError(f"{option} {value!r}: a size such as 512m or 4g")

    @property
    def bridge(self) -> str:
        """Name of the bridge in the machine's own network namespace."""
        return f"br-{self.name}"

    @property
    def gateway(self) -> IPv4Address:
        """The machine's own address on the bridge."""
        return self.subnet[1]

    @property
    def virtual_address(self) -> IPv4Address:
        """The address no server has of its own."""
        return self.subnet[VIRTUAL_HOST]

    @property
    def run_dir(self) -> Path:
        """Where podman keeps what a restart of the machine ends (its socket paths must be short)."""
        return run_dir_of(self.name, self.state)

    @property
    def file(self) -> Path:
        """The lab's memory."""
        return self.state / "lab.json"

    @property
    def client_key(self) -> Path:
        """Private key that opens every server of the lab."""
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Host keys of the servers, as OpenSSH reads them."""
        return self.state / "known_hosts"

    def ssh(self, server: Server, known_hosts: Path, *options: str) -> list[str]:
        """The words of SSH into a server, up to its command. ``options`` beyond those that always hold."""
        # Quoted, since ssh splits the value at blanks.
        all_options = [f'UserKnownHostsFile="{known_hosts}"', "GlobalKnownHostsFile=/dev/null"]
        all_options += ["StrictHostKeyChecking=yes", "IdentitiesOnly=yes", *options]
        words = [word for option in all_options for word in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(self.client_key), *words, f"{USER}@{server.address}"]


@dataclass(frozen=True)
class Server:
    """One server: its name (also that of its interface on the bridge), address and machine-id."""

    name: str
    address: str
    machine_id: str

    @property
    def mac(self) -> str:
        """Hardware address, the same after each power cycle so that no neighbour has to relearn it."""
        return "02:6a:" + ":".join(f"{byte:02x}" for byte in IPv4Address(self.address).packed)


@dataclass
class State:
    """What is remembered about a lab that is up, or was."""

    name: str
    subnet: str
    memory: str
    disk: str
    image: str  # digest of the image recipe the servers' disks belong to
    owner: tuple[int, int] | None = None  # process id and its start time, see `procs.birth`
    servers: list[Server] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Of its servers: box, or vm."""
        return kind_of(self.image)

    def server(self, name: str) -> Server:
        """Return the server of that name; LabError lists the names there are."""
        for server in self.servers:
            if server.name == name:
                return server
        names = ", ".join(server.name for server in self.servers)
        raise LabError(f"no server {name!r} in lab {self.name}: there are {names}")


def load(path: Path) -> State | None:
    """Read a lab's memory; None when there is none. LabError when it cannot be read."""
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        raw = json.loads(text)
        servers = [Server(**server) for server in raw.pop("servers")]
        owner = raw.pop("owner")
        return State(**raw, owner=(owner[0], owner[1]) if owner else None, servers=servers)
    except (ValueError, TypeError, KeyError) as error:
        raise LabError(f"{path} is damaged ({error}): `python -m lab down` clears the lab") from None


def save(path: Path, state: State) -> None:
    """Write a lab's memory in one step."""
    write(path, json.dumps(asdict(state), indent=2) + "\n")


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that it is either the old or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as stream:
        stream.write(text)
    part.rename(path)


def keypair(path: Path, comment: str) -> str:
    """Make an ed25519 key pair at path unless it is there; return the public half, without its comment."""
    public = path.with_name(path.name + ".pub")
    if not (path.exists() and public.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        for old in (part, part.with_name(part.name + ".pub")):
            old.unlink(missing_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(part)])
        part.with_name(part.name + ".pub").rename(public)
        part.rename(path)
    return " ".join(public.read_text().split()[:2])


def new_server(settings: Settings, taken: list[Server], name: str | None = None) -> Server:
    """Choose name (unless given) and address of one more server.

    Raises LabError when the name is taken or unusable, or the subnet is full.
    """
    names = {server.name for server in taken}
    if name is None:
        name = next(f"{settings.name}-{i}" for i in range(1, 256) if f"{settings.name}-{i}" not in names)
    if name in names:
        raise LabError(f"there is a server {name} already in lab {settings.name}")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,13}[a-z0-9]", name):
        raise LabError(f"server name {name!r}: 2 to 15 of a-z, 0-9 and -, beginning with a letter")
    used = {server.address for server in taken}
    for host in range(FIRST_HOST, VIRTUAL_HOST):
        if str(settings.subnet[host]) not in used:
            return Server(name=name, address=str(settings.subnet[host]), machine_id=secrets.token_hex(16))
    raise LabError(f"no address is left in {settings.subnet} for a further server")
