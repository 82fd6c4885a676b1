"""What of a stack is another than what was deployed: ``python -m jarvis.drift [--json]``.

It asks the servers and Kubernetes' API as a preview does, and Pulumi's engine nothing. Exit status: 0 where
nothing was found, 2 where something was, and 1 where that cannot be told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.before import read_before
from jarvis.config.load import PROJECT, with_host_keys
from jarvis.core.deployed import OUTPUT
from jarvis.drift.ask import Looked, Watch, deployed, look, read_watch
from jarvis.drift.lists import Asked, ask, control_plane, paths
from jarvis.drift.objects import found_lines, read_objects

_NOTHING, _ERROR, _FOUND = 0, 1, 2


async def _pulumi(*words: str) -> Any:
    """What the CLI prints, as JSON. Raises ``ConfigurationError`` with what it says where it fails."""
    program = shutil.which("pulumi") or str(PROJECT / ".jarvis" / "bin" / "pulumi")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            "--json",
            "--show-secrets",
            "--non-interactive",
            cwd=PROJECT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ConfigurationError(f"{program}: {error.strerror}; type: make tools") from None
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise ConfigurationError(f"pulumi {words[0]}: {errors.decode(errors='replace').strip()}")
    return json.loads(output)


def read_stack(
    config: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Any], source: str
) -> tuple[Environment, Watch]:
    """The environment of a stack, which knows what is deployed, and its ``jarvis:observe``.

    Args:
        config: what ``pulumi config --json`` prints.
        outputs: what ``pulumi stack output --json`` prints.
        source: what the configuration is called in errors.

    Raises ``ConfigurationError`` where the configuration is wrong, and where nothing is deployed.
    """
    document = config.get("jarvis:environment", {}).get("value")
    try:
        values = json.loads(document or "")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{source} has no jarvis:environment; the README has a complete example")
    watch = read_watch(config.get("jarvis:observe", {}).get("value"))
    env = with_host_keys(parse_environment(values, source), source)
    env = env.after(read_before(outputs.get(OUTPUT) or {}))
    if not env.deployed:
        raise ConfigurationError(f"no finished `pulumi up` has deployed {source}; type: pulumi up")
    return env, watch


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the servers and the API say, whether all must, how many servers were asked, and the sentences by
    object."""

    looked: Looked
    asked: Asked
    watch: Watch
    servers: int
    objects: Mapping[str, Sequence[str]]


async def _look(stack: str | None) -> _Found:
    chosen = ["--stack", stack] if stack else []
    # Neither is left behind where the other fails.
    answers = await asyncio.gather(
        _pulumi("config", *chosen), _pulumi("stack", "output", *chosen), return_exceptions=True
    )
    for one in answers:
        if isinstance(one, BaseException):
            raise one
    config: Any = answers[0]
    outputs: Any = answers[1]
    source = f"Pulumi.{stack}.yaml" if stack else "the configuration of the selected stack"
    env, watch = read_stack(config, outputs, source)
    servers = deployed(env)
    # Of an earlier Jarvis no record tells which objects are the stack's.
    left = read_objects(outputs.get(OUTPUT) or {})
    apis = control_plane(env, servers) if left.objects else []
    looked, asked = await asyncio.gather(
        look(env, servers), ask(env, apis, paths(left.objects)) if apis else _nobody()
    )
    known = apis and not asked.silent
    return _Found(
        looked=looked,
        asked=asked,
        watch=watch,
        servers=len(servers),
        objects=found_lines(left, asked.live) if known else {},
    )


async def _nobody() -> Asked:
    return Asked()


def main(words: Sequence[str] | None = None) -> int:
    """The program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m jarvis.drift", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--stack", help="another stack than the selected one")
    args = parser.parse_args(words)
    try:
        found = asyncio.run(_look(args.stack))
    except pulumi.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return _ERROR
    looked, asked = found.looked, found.asked
    lines = looked.lines() + [
        f"{name}: {sentence}" for name, sentences in found.objects.items() for sentence in sentences
    ]
    if args.json:
        print(json.dumps(_document(found), indent=1))
    else:
        for line in lines:
            print(line)
        if not lines and not looked.silent and not asked.silent:
            print(f"all is as it was deployed: {found.servers} servers")
    for server, why in looked.silent.items():
        print(f"{server}: not looked at: {why}", file=sys.stderr)
    for server, why in asked.silent.items():
        print(f"{server}: Kubernetes was not asked there: {why}", file=sys.stderr)
    if (looked.silent or asked.silent) and found.watch is not Watch.LENIENT:
        return _ERROR
    return _FOUND if lines else _NOTHING


def _document(found: _Found) -> dict[str, Any]:
    return {
        "found": {
            server: {role: sentences for role, sentences in roles.items() if sentences}
            for server, roles in found.looked.found.items()
        },
        "silent": found.looked.silent,
        "objects": found.objects,
        "silent_apis": found.asked.silent,
    }


if __name__ == "__main__":
    sys.exit(main())
