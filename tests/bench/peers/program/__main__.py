"""The role by Jarvis: JARVIS_ROLE names role.json, JARVIS_SERVERS what ``python -m lab config`` prints.

JARVIS_ENVIRONMENT names an environment with these servers; where it is given they are asked what on them is
another than what was deployed, as in every preview of a stack.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pulumi

from jarvis.config import parse_environment
from jarvis.config.load import with_host_keys
from jarvis.drift import look
from jarvis.remote import File, HostService, HostServiceArgs, ServerTools, Target
from jarvis.remote.script import read_file
from tests.bench.peers.role import read_role

TOOL = "/var/lib/jarvis/bin/host"


async def found() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """What the servers say of themselves, where they are to be asked."""
    path = os.environ.get("JARVIS_ENVIRONMENT")
    if not path:
        return {}
    env = with_host_keys(parse_environment(json.loads(Path(path).read_text(encoding="utf-8")), path), path)
    looked = await look(env, env.present)
    if looked.silent:
        raise pulumi.RunError(looked.error())
    return looked.found


async def program() -> None:
    """One role on each server."""
    role = read_role(Path(os.environ["JARVIS_ROLE"]))
    lab = json.loads(Path(os.environ["JARVIS_SERVERS"]).read_text(encoding="utf-8"))
    key = pulumi.Output.secret(Path(lab["private_key_path"]).read_text(encoding="utf-8"))
    seen = await found()
    files = [
        File(path=path, content=(Path(role.folder) / name).read_text(encoding="utf-8"))
        for name, path in role.files.items()
    ]
    for server in lab["servers"]:
        name = server["name"]
        target = Target(
            server=name,
            host=server["address"],
            host_key=server["host_key"],
            private_key=key,
            seen=seen.get(name, {}),
        )
        tool = ServerTools(f"{name}-apply", target)
        HostService(
            f"{name}-role",
            role.name,
            HostServiceArgs(
                target=target,
                files=[
                    File(path=TOOL, content=read_file("host.sh"), mode="0755"),
                    File(
                        path="/var/lib/jarvis/bin/packaged.sh", content=read_file("packaged.sh"), mode="0755"
                    ),
                    *files,
                ],
                units=role.units,
                before=[f"{TOOL} packages {' '.join(role.packages)}"],
            ),
            pulumi.ResourceOptions(depends_on=[tool]),
        )


pulumi.run(program)
