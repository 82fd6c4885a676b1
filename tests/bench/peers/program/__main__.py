"""The role by Jarvis: JARVIS_ROLE names role.json, JARVIS_SERVERS what ``python -m lab config`` prints."""

import json
import os
from pathlib import Path

import pulumi

from jarvis.remote import File, HostService, HostServiceArgs, ServerTools, Target
from jarvis.remote.script import read_file
from tests.bench.peers.role import read_role

TOOL = "/var/lib/jarvis/bin/host"

role = read_role(Path(os.environ["JARVIS_ROLE"]))
lab = json.loads(Path(os.environ["JARVIS_SERVERS"]).read_text(encoding="utf-8"))
key = pulumi.Output.secret(Path(lab["private_key_path"]).read_text(encoding="utf-8"))
files = [
    File(path=path, content=(Path(role.folder) / name).read_text(encoding="utf-8"))
    for name, path in role.files.items()
]
for server in lab["servers"]:
    name = server["name"]
    target = Target(server=name, host=server["address"], host_key=server["host_key"], private_key=key)
    tool = ServerTools(f"{name}-apply", target)
    HostService(
        f"{name}-role",
        role.name,
        HostServiceArgs(
            target=target,
            files=[
                File(path=TOOL, content=read_file("host.sh"), mode="0755"),
                File(path="/var/lib/jarvis/bin/packaged.sh", content=read_file("packaged.sh"), mode="0755"),
                *files,
            ],
            units=role.units,
            before=[f"{TOOL} packages {' '.join(role.packages)}"],
        ),
        pulumi.ResourceOptions(depends_on=[tool]),
    )
