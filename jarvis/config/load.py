"""From ``Pulumi.<stack>.yaml`` to a checked environment, with every mistake in one error."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.config import is_config_secret
from pydantic import ValidationError

from jarvis.config.environment import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.openstack import Service
from jarvis.config.server import Server

PROJECT = Path(__file__).resolve().parents[2]


def field_path(parts: tuple[str | int, ...]) -> str:
    """``("servers", 0, "address")`` as ``servers[0].address``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse_environment(values: Mapping[str, Any], source: str) -> Environment:
    """The environment that ``values`` describe; ``source`` is the file's name, for the error.

    Raises ``ConfigurationError`` with every mistake at once.
    """
    try:
        return Environment.model_validate(values)
    except ValidationError as error:
        found = [(tuple(e["loc"]), str(e["msg"])) for e in error.errors(include_url=False)]
        found += [mistake for mistake in _cross_mistakes(values, found) if mistake not in found]
        lines = [f"  {field_path(loc) or '(top)'}: {text}" for loc, text in found]
        count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
        message = f"{source} has {count}; nothing has been changed:\n" + "\n".join(lines)
    raise ConfigurationError(message)


def _cross_mistakes(
    values: Mapping[str, Any], found: list[tuple[tuple[str | int, ...], str]]
) -> list[tuple[tuple[str | int, ...], str]]:
    """What the checks across fields say of ``values`` without the fields that are wrong by themselves.

    Pydantic looks across fields only once each is right. Where a field cannot be left out nothing is found:
    what it would be compared with is not known.
    """
    rest = copy.deepcopy(dict(values))
    for loc, _ in found:
        place: Any = rest
        try:
            for part in loc[:-1]:
                place = place[part]
            if isinstance(place, dict):
                del place[loc[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    try:
        Environment.model_validate(rest)
    except ValidationError as error:
        return [
            (tuple(e["loc"]), str(e["msg"]))
            for e in error.errors(include_url=False)
            if e["type"] == "environment"
        ]
    return []


def load_environment() -> Environment:
    """The environment of the stack that runs, with key files read.

    Raises ``ConfigurationError`` where the configuration, or a file that it names, is missing or wrong.
    """
    stack = pulumi.get_stack()
    source = f"Pulumi.{stack}.yaml"
    values = pulumi.Config("jarvis").get_object("environment")
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{source} has no jarvis:environment; the README has a complete example")
    env = with_host_keys(parse_environment(values, source), source)
    check_encrypted(env, source, encrypted=is_config_secret("jarvis:environment"), file=_stack_file(source))
    return env


def _stack_file(source: str) -> Path:
    """The file that the CLI has the configuration from."""
    return Path(os.environ.get("PULUMI_OPTION_CONFIG_FILE") or PROJECT / source)


def check_encrypted(env: Environment, source: str, *, encrypted: bool, file: Path) -> None:
    """Whether every secret option of ``env`` is encrypted in the ``file`` that it comes from.

    Where the file is elsewhere, it is enough that something in the configuration is ``encrypted``.

    Raises ``ConfigurationError`` naming those that stand there in the open, without their values.
    """
    services = {
        name: list(settings.secret_options)
        for name, settings in env.openstack
        if isinstance(settings, Service) and settings.secret_options
    }
    if not services:
        return
    written: Any = {}
    if file.is_file():
        import yaml  # only here: most stacks have no secret option

        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        written = document["config"]["jarvis:environment"].get("openstack", {})
    lines = []
    for service, names in services.items():
        found = written.get(service, {}).get("secret_options", {})
        lines += [
            f"  openstack.{service}.secret_options.{name}"
            for name in names
            if not (isinstance(found[name], dict) if name in found else encrypted)
        ]
    if lines:
        text = "\n".join(lines)
        raise ConfigurationError(
            f"{source} has secrets in the open; remove them (and choose new ones, if others have read it):\n"
            f"{text}\nand type, for each: pulumi config set --secret --path"
            " 'jarvis:environment.openstack.SERVICE.secret_options[\"OPTION\"]'"
        )


def with_host_keys(env: Environment, source: str, folder: Path = PROJECT) -> Environment:
    """``env`` with each ``host_key_file`` (relative to ``folder``) read into ``host_key``.

    Raises ``ConfigurationError`` naming every file that is missing or has no key of the server.
    """
    mistakes: list[str] = []

    def exists(field: str, path: str | None) -> bool:
        if path and not (folder / path).is_file():
            mistakes.append(f"  {field}: there is no file {path} (the lab's are made by: make lab)")
            return False
        return path is not None

    def read(field: str, path: str | None, address: str) -> str | None:
        if not path or not exists(field, path):
            return None
        key = host_key((folder / path).read_text(encoding="utf-8"), address)
        if key is None:
            mistakes.append(f"  {field}: {path} has no key of {address}")
        return key

    servers: list[Server] = []
    for at, server in enumerate(env.servers):
        key = read(f"servers[{at}].host_key_file", server.host_key_file, str(server.address))
        exists(f"servers[{at}].private_key_file", server.private_key_file)
        servers.append(server.model_copy(update={"host_key": key or server.host_key}))
    ssh, bastion = env.ssh, env.ssh.bastion
    exists("ssh.private_key_file", ssh.private_key_file)
    if bastion is not None:
        key = read("ssh.bastion.host_key_file", bastion.host_key_file, bastion.host)
        exists("ssh.bastion.private_key_file", bastion.private_key_file)
        bastion = bastion.model_copy(update={"host_key": key or bastion.host_key})
        ssh = ssh.model_copy(update={"bastion": bastion})
    if mistakes:
        raise ConfigurationError(f"{source} names files that are not there:\n" + "\n".join(mistakes))
    return env.model_copy(update={"servers": servers, "ssh": ssh})


def host_key(text: str, address: str) -> str | None:
    """The public key of ``address`` in ``text``, which is a known_hosts file (sshd(8)) or one public key."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-")):
            return " ".join(words[:2])
        if len(words) >= 3 and address in words[0].split(","):
            return " ".join(words[1:3])
    return None
