"""What is to be done: files, units and packages of one role, the same for every tool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# As many files as in the figures that the aims were taken from; a control plane's server has about as many.
FILES = 100
UNITS = 3
# About the size of a unit or of a small option file.
FILE_BYTES = 600
# On every server already: what is timed is the question, not Debian's archive.
PACKAGES = ("haproxy", "jq", "keepalived", "nftables", "socat")


@dataclass(frozen=True, kw_only=True)
class Role:
    """One role, under a name of its own, so that all tools find the servers without it.

    - ``name``: prefix of its units, and of its folder ``/etc/<name>``. ``folder``: where its files are here.
    - ``files``: name and absolute path on the server of each. ``units``: names of the services.
    """

    name: str
    folder: str
    files: dict[str, str]
    units: list[str]
    packages: list[str]


def unit_text(name: str, number: int) -> str:
    """A service that only waits."""
    return (
        f"[Unit]\nDescription=Service {number} of {name}\n\n"
        "[Service]\nExecStart=/usr/bin/sleep infinity\n\n[Install]\nWantedBy=multi-user.target\n"
    )


def file_text(name: str, number: int) -> str:
    """A file of options, which differs from every other."""
    line = f"option_{number:03} = value of {name}, long enough to be a line as such files have them"
    count = FILE_BYTES // (len(line) + 5)
    return "".join(f"{line} {each:02}\n" for each in range(count))


def write_role(name: str, folder: Path) -> Role:
    """Writes the role's files and ``role.json`` to ``folder``; returns what they are."""
    files: dict[str, str] = {}
    units = [f"{name}-{number}.service" for number in range(UNITS)]
    folder.mkdir(parents=True)
    for number, unit in enumerate(units):
        (folder / unit).write_text(unit_text(name, number), encoding="utf-8")
        files[unit] = f"/etc/systemd/system/{unit}"
    for number in range(FILES - UNITS):
        file = f"{number:03}.conf"
        (folder / file).write_text(file_text(name, number), encoding="utf-8")
        files[file] = f"/etc/{name}/{file}"
    role = Role(name=name, folder=str(folder), files=files, units=units, packages=list(PACKAGES))
    (folder / "role.json").write_text(json.dumps(asdict(role)), encoding="utf-8")
    return role


def read_role(path: Path) -> Role:
    """The role that ``write_role`` described in a file."""
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Role(**found)
