"""Command line of the lab: ``python -m lab VERB``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from pathlib import Path

from lab import health, operate
from lab.image import locked
from lab.model import CHECKOUT, USER, Settings, write
from lab.shell import LabError


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    common = argparse.ArgumentParser(add_help=False)
    option = common.add_argument
    option(
        "--name", default=env("JARVIS_LAB_NAME", "jarvis"), help="name of the lab and prefix of its servers"
    )
    option(
        "--subnet", default=env("JARVIS_LAB_SUBNET"), help="its network (default 10.88.0.0/24, or as it is)"
    )
    option(
        "--count",
        type=int,
        default=int(env("JARVIS_LAB_COUNT", "3")),
        help="servers there should be, at least",
    )
    option(
        "--kind",
        choices=("box", "vm"),
        default=env("JARVIS_LAB_KIND"),
        help="servers in a box (default, or as it is), or virtual machines",
    )
    option("--memory", default=env("JARVIS_LAB_MEMORY", "4g"), help="memory cap of each")
    option("--disk", default=env("JARVIS_LAB_DISK", "20g"), help="size of each disk, taken as it fills")
    option(
        "--state", type=Path, default=env("JARVIS_LAB_STATE"), help="folder of its files (.jarvis/lab/<name>)"
    )

    parser = argparse.ArgumentParser(
        prog="python -m lab", description="Servers in a box: Debian servers for trying"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[common])

    start = verb("up", "make what is missing and start what is off; wait until all are ready")
    start.add_argument(
        "--owner", type=int, help="a process id: once it ended, any lab may clear this one away"
    )
    stop = verb("down", "remove servers, disks, keys and bridge")
    stop.add_argument("--leftovers", action="store_true", help="as well every lab that nobody uses any more")
    verb("status", "how each server is").add_argument("--json", action="store_true")
    verb("power-off", "pull the plug of a server").add_argument("server")
    verb("power-on", "power a server on and wait until it is ready").add_argument("server")
    add = verb("add", "add a server at the next free address")
    add.add_argument("server", nargs="?", help="its name (default: the next number)")
    console = verb("console", "the last lines of a server's journal, also when it is off")
    console.add_argument("server")
    console.add_argument("--lines", "-n", type=int, default=50)
    ssh = verb("ssh", "log in to a server, or run a command there")
    ssh.add_argument("server")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    config = verb("config", "the servers as a deployment's configuration needs them, as JSON")
    config.add_argument("--output", type=Path, help="write there instead of printing")
    return parser


def _settings(args: argparse.Namespace) -> Settings:
    from lab.model import load

    state = (args.state or CHECKOUT / ".jarvis" / "lab" / args.name).absolute()
    subnet = args.subnet
    try:
        known = load(state / "lab.json")
    except LabError:
        known = None
    if subnet is None:
        subnet = known.subnet if known else "10.88.0.0/24"
    try:
        parsed = IPv4Network(subnet)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise LabError(f"--subnet: {error}") from None
    return Settings(
        name=args.name,
        subnet=parsed,
        count=args.count,
        memory=args.memory,
        disk=args.disk,
        state=state,
        kind=args.kind or (known.kind if known else "box"),
        owner=getattr(args, "owner", None),
    )


def _status(settings: Settings, as_json: bool) -> None:
    state = operate.remember(settings)
    rows = [health.look(settings, state, server) for server in state.servers]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'NAME':<16}{'ADDRESS':<16}{'STATE':<12}{'UP':>9}{'MEMORY':>16}{'DISK':>9}  FAILED UNITS")
    for row in rows:
        if row["state"] == "off":
            print(f"{row['name']:<16}{row['address']:<16}{'off':<12}")
            continue
        used, cap, disk = (
            int(str(row[key])) / 2**20 for key in ("memory_bytes", "memory_cap_bytes", "disk_bytes")
        )
        failed = row["failed_units"]
        units = ", ".join(map(str, failed)) if isinstance(failed, list) else ""
        uptime = float(str(row["uptime_seconds"]))
        print(
            f"{row['name']:<16}{row['address']:<16}{row['state']:<12}{uptime:>7.0f} s"
            f"{used:>7.0f}/{cap:.0f} MiB{disk:>5.0f} MiB  {units}"
        )


def _ssh(settings: Settings, name: str, command: list[str]) -> None:
    server = operate.remember(settings).server(name)
    options = ["-i", str(settings.client_key), "-o", f'UserKnownHostsFile="{settings.known_hosts}"']
    options += [
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "IdentitiesOnly=yes",
    ]
    os.execvp("ssh", ["ssh", "-F", "none", *options, f"{USER}@{server.address}", *command])


def main() -> int:
    """Run one verb; 0 when it succeeded, 1 after a clear error."""
    args = _parser().parse_args()
    try:
        if os.geteuid() != 0:
            raise LabError("the lab needs root: it makes namespaces, mounts and a bridge")
        settings = _settings(args)
        if args.verb in ("up", "down", "power-off", "power-on", "add"):
            with locked(Path("/run/jarvis-lab") / f"{settings.name}.lock"):
                if args.verb == "up":
                    operate.up(settings)
                elif args.verb == "down":
                    operate.down(settings)
                    if args.leftovers:
                        operate.clear_leftovers()
                elif args.verb == "power-off":
                    operate.power_off(settings, args.server)
                elif args.verb == "power-on":
                    operate.power_on(settings, args.server)
                else:
                    print(operate.add(settings, args.server).name)
        elif args.verb == "status":
            _status(settings, args.json)
        elif args.verb == "console":
            print(health.console(settings, operate.remember(settings).server(args.server), args.lines))
        elif args.verb == "ssh":
            _ssh(settings, args.server, args.command)
        else:
            text = json.dumps(operate.configuration(settings), indent=2) + "\n"
            if args.output:
                write(args.output, text)
            else:
                sys.stdout.write(text)
    except LabError as error:
        print(f"lab: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
