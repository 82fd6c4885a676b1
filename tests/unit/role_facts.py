"""Prints what follows from the roles of the example's servers, as JSON.

    python -m tests.unit.role_facts FOLDER ROLE...

The first two servers of the stack dev get each ROLE too. It runs in a copy of Jarvis that may have more roles
than this one.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.rotations import held, secret_names
from jarvis.config.schema import schema_text
from jarvis.hosts import base
from jarvis.hosts.firewall import ruleset
from jarvis.hosts.preflight import role_arguments
from stacks.cloud import build
from tests.golden.test_golden import PROJECT, artifacts, environment_of
from tests.unit.harness import Graph, record


def graph(env: Environment) -> Graph:
    return record(lambda: build(env, artifacts()), env.name)


def inputs(found: Graph, folder: Path) -> dict[str, str]:
    """The inputs of each resource, without the places of this copy and of ``folder``."""
    texts = {}
    for label, one in found.resources.items():
        text = re.sub(r'"[^"]*/shipped/', '"', json.dumps(one.inputs, sort_keys=True))
        texts[label] = text.replace(str(folder), "").replace(str(PROJECT), "")
    return texts


def with_roles(roles: list[str], **fields: Any) -> dict[str, Any]:
    """The configuration of the stack dev, with ``roles`` and ``fields`` of the first two servers."""
    document = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())
    values: dict[str, Any] = document["config"]["jarvis:environment"]
    for server in values["servers"][:2]:
        server["roles"] = [*server["roles"], *roles]
        server.update(fields)
    return values


def mistakes(values: dict[str, Any]) -> list[str]:
    try:
        parse_environment(values, "x")
    except ConfigurationError as error:
        return str(error).splitlines()[1:]
    return []


def facts(folder: Path, roles: list[str]) -> dict[str, Any]:
    graphs = {stack: graph(environment_of(stack, folder)) for stack in ("dev", "production")}
    found: dict[str, Any] = {
        "stacks": {stack: inputs(one, folder) for stack, one in graphs.items()},
        "edges": {stack: one.text() for stack, one in graphs.items()},
        "secrets": list(secret_names(environment_of("dev", folder))),
        "schema": json.loads(schema_text())["$defs"]["ServerRole"]["enum"],
    }
    if not roles:
        return found
    env = environment_of("dev", folder)
    servers = parse_environment(with_roles(roles), "x").servers
    keys = [{"host_key": one.host_key, "host_key_file": None} for one in env.servers]
    servers = [one.model_copy(update=key) for one, key in zip(servers, keys, strict=True)]
    env = env.model_copy(update={"servers": servers})
    built = graph(env)
    alone = with_roles([])
    alone["servers"][0]["roles"] = [*roles]
    return found | {
        "with": inputs(built, folder),
        "preflight": sorted(built.resources["command:local:Command preflight"].depends),
        "with secrets": list(secret_names(env)),
        "servers": {
            one.name: {
                "packages": base.packages(one),
                "apt": base.apt_preferences(one),
                "users": base.sysusers(one),
                "modules": base.modules(one).split("\n"),
                "sysctls": base.sysctls(one).splitlines(),
                "rules": ruleset(env, one).splitlines(),
                "asked": role_arguments(env, one),
                "held": held(env, one.roles),
            }
            for one in servers
        },
        "alone": mistakes(alone),
        "sysctl": mistakes(with_roles(roles, sysctls={"net.core.rmem_max": "1"})),
        "port": mistakes({**with_roles(roles), "registry": {"port": 6081}}),
    }


if __name__ == "__main__":
    given = Path(sys.argv[1])
    print(json.dumps(facts(given, sys.argv[2:])))
