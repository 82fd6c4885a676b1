"""The lab's bridge in the machine's own network namespace, and who else uses names or addresses we want."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, ip_interface, ip_network
from pathlib import Path
from typing import Any

from lab.model import Settings
from lab.shell import LabError, run

ALIAS = "jarvis-lab "  # how the alias of every interface a lab made begins; its state folder follows


def alias(state: Path) -> str:
    """The alias that marks an interface as made by the lab with that state folder (at most 255 bytes)."""
    text = f"{ALIAS}{state}"
    if len(text.encode()) > 255:
        raise LabError(
            f"the path {state} is too long to mark interfaces with: use --state with a shorter one"
        )
    return text


def interfaces() -> list[dict[str, Any]]:
    """The machine's interfaces with addresses, as ``ip -json address`` tells them."""
    found: list[dict[str, Any]] = json.loads(run(["ip", "-json", "address", "show"]) or "[]")
    # ip 6.1 leaves the alias out of its JSON.
    for entry in found:
        try:
            entry["ifalias"] = Path(f"/sys/class/net/{entry['ifname']}/ifalias").read_text().strip()
        except OSError:
            entry["ifalias"] = ""
    return found


def maker(entry: dict[str, Any]) -> Path | None:
    """State folder of the lab that made an interface; None when no lab did."""
    text = str(entry["ifalias"])
    return Path(text[len(ALIAS) :]) if text.startswith(ALIAS) else None


def obstacles(settings: Settings, names: list[str]) -> tuple[list[str], set[Path]]:
    """Find what stands in the way of a lab with these interface names.

    Returns sentences about things no lab made, and the state folders of other labs that hold our names
    or our subnet.
    """
    strangers: list[str] = []
    labs: set[Path] = set()
    ours = {str(entry["ifname"]): owner for entry in interfaces() if (owner := maker(entry)) is not None}
    for entry in interfaces():
        name, owner = str(entry["ifname"]), maker(entry)
        overlaps = [
            str(ip_interface(f"{address['local']}/{address['prefixlen']}"))
            for address in entry.get("addr_info", [])
            if address["family"] == "inet"
            and ip_network(f"{address['local']}/{address['prefixlen']}", strict=False).overlaps(
                settings.subnet
            )
        ]
        if owner is not None:
            if owner != settings.state and (overlaps or name == settings.bridge or name in names):
                labs.add(owner)
        elif name == settings.bridge or name in names:
            strangers.append(f"the interface {name} exists and no lab made it")
        elif overlaps:
            strangers.append(f"the subnet {settings.subnet} overlaps {overlaps[0]} of interface {name}")
    for route in json.loads(run(["ip", "-4", "-json", "route", "show", "table", "main"]) or "[]"):
        destination, device = str(route["dst"]), str(route.get("dev", ""))
        if destination == "default" or device in ours:
            continue
        if IPv4Network(destination, strict=False).overlaps(settings.subnet) and not any(
            f"of interface {device}" in text for text in strangers
        ):
            strangers.append(
                f"the subnet {settings.subnet} overlaps the route to {destination} by {device or 'nothing'}"
            )
    return strangers, labs


def bridge_up(settings: Settings) -> bool:
    """Make the bridge with the machine's address on it; True when anything had to be done."""
    entry = next((e for e in interfaces() if e["ifname"] == settings.bridge), None)
    want = f"{settings.gateway}/{settings.subnet.prefixlen}"
    if entry is not None and entry["operstate"] != "" and "UP" in entry["flags"]:
        have = [f"{a['local']}/{a['prefixlen']}" for a in entry["addr_info"] if a["family"] == "inet"]
        if want in have:
            return False
    if entry is None:
        run(["ip", "link", "add", settings.bridge, "type", "bridge"])
        run(["ip", "link", "set", "dev", settings.bridge, "alias", alias(settings.state)])
    run(["ip", "address", "replace", want, "dev", settings.bridge])
    run(["ip", "link", "set", "dev", settings.bridge, "up"])
    for other in interfaces():
        # Servers that outlived a bridge somebody deleted.
        if maker(other) == settings.state and other["ifname"] != settings.bridge and "master" not in other:
            run(["ip", "link", "set", "dev", str(other["ifname"]), "master", settings.bridge, "up"])
    return True


def tap(name: str, settings: Settings) -> None:
    """Make the interface of a virtual machine, on the bridge; one of this lab with that name is used."""
    remove_one(name, settings.state)
    run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
    run(["ip", "link", "set", "dev", name, "alias", alias(settings.state)])
    run(["ip", "link", "set", "dev", name, "master", settings.bridge, "up"])


def makers() -> set[Path]:
    """State folders of all labs that have an interface on this machine."""
    return {owner for entry in interfaces() if (owner := maker(entry)) is not None}


def remove(state: Path) -> list[str]:
    """Delete every interface that the lab with that state folder made; returns their names."""
    gone = []
    for entry in interfaces():
        if maker(entry) == state:
            # A server's end of the pair may be vanishing with its namespace at this very moment.
            run(["ip", "link", "delete", "dev", str(entry["ifname"])], check=False)
            gone.append(str(entry["ifname"]))
    return gone


def remove_one(name: str, state: Path) -> None:
    """Delete one interface if that lab made it."""
    if any(entry["ifname"] == name and maker(entry) == state for entry in interfaces()):
        run(["ip", "link", "delete", "dev", name], check=False)
