"""Prints the drift of a stack: ``python -m jarvis.drift [--json]``.

The program asks the servers, Kubernetes' API and Keystone as a preview does, and Pulumi's engine nothing. Its
exit status is 0 where nothing was found, 2 where something was, and 1 where that cannot be told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.before import read_before
from jarvis.config.load import PROJECT, with_host_keys
from jarvis.core.deployed import OUTPUT
from jarvis.drift.ask import Looked, Watch, deployed, look, read_watch
from jarvis.drift.declared import Objects as DeclaredObjects
from jarvis.drift.declared import read_declared
from jarvis.drift.keystone import keystone_source
from jarvis.drift.objects import kubernetes_source, read_objects
from jarvis.drift.registered import read_registered
from jarvis.drift.source import Source, look_at, not_looked_at

_NOTHING, _ERROR, _FOUND = 0, 1, 2


async def _pulumi(*words: str) -> Any:
    """Runs Pulumi's CLI in the project's folder.

    Returns:
        What it prints, read as JSON.

    Raises:
        ConfigurationError: the CLI is not there, or fails; with what it says.
    """
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
) -> tuple[Environment, Watch, list[Source]]:
    """Reads what to ask of a stack.

    Args:
        config: what ``pulumi config --json`` prints.
        outputs: what ``pulumi stack output --json`` prints.
        source: name of the configuration in errors.

    Returns:
        The environment, which knows what is deployed; the value of ``jarvis:observe``; and the sources to
        ask beside the servers.

    Raises:
        ConfigurationError: the configuration is wrong, or nothing is deployed.
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
    record = outputs.get(OUTPUT) or {}
    env = env.after(read_before(record))
    if not env.deployed:
        raise ConfigurationError(f"no finished `pulumi up` has deployed {source}; type: pulumi up")
    sources = [
        kubernetes_source(env, read_objects(record)),
        keystone_source(env, read_registered(record)),
    ]
    objects = read_declared(record)
    if objects:
        sources.append(DeclaredObjects(env, objects, read_registered(record)).source)
    return env, watch, sources


async def _look(stack: str | None) -> tuple[Looked, Looked, Watch, int]:
    """Asks the servers and the other sources of ``stack``, by default of the selected one.

    Returns:
        The answers of the servers; those of the other sources; the value of ``jarvis:observe``; and how many
        servers were asked.
    """
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
    env, watch, sources = read_stack(config, outputs, source)
    servers = deployed(env)
    looked, others = await asyncio.gather(look(env, servers), look_at(sources))
    return looked, others, watch, len(servers)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        words: the arguments; ``None`` takes those of the command line.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m jarvis.drift", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--stack", help="another stack than the selected one")
    args = parser.parse_args(words)
    try:
        looked, others, watch, asked = asyncio.run(_look(args.stack))
    except pulumi.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return _ERROR
    lines = [*looked.lines(), *others.lines()]
    silent = {**looked.silent, **others.silent}
    if args.json:
        found = {
            place: {name: sentences for name, sentences in each.items() if sentences}
            for place, each in {**looked.found, **others.found}.items()
        }
        print(json.dumps({"found": found, "silent": silent}, indent=1))
    else:
        for line in lines:
            print(line)
        if not lines and not silent:
            servers = f"{asked} server{'' if asked == 1 else 's'}"
            print(f"all is as it was deployed: {', '.join((servers, *others.found))}")
    for server, why in looked.silent.items():
        print(f"{server}: not looked at: {why}", file=sys.stderr)
    for line in not_looked_at(others.silent):
        print(line, file=sys.stderr)
    if silent and watch is not Watch.LENIENT:
        return _ERROR
    return _FOUND if lines else _NOTHING


if __name__ == "__main__":
    sys.exit(main())
