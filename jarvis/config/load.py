"""Loads ``Pulumi.<stack>.yaml`` into a checked environment, with all mistakes in one error."""

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
from jarvis.config.keys import host_key_mistake
from jarvis.config.server import Server
from jarvis.config.service import ServiceSettings
from jarvis.config.types import Place
from jarvis.config.words import in_words

PROJECT = Path(__file__).resolve().parents[2]


def field_path(parts: Place) -> str:
    """``("servers", 0, "address")`` as ``servers[0].address``."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def parse_environment(values: Mapping[str, Any], source: str) -> Environment:
    """The environment that ``values`` describe.

    Args:
        values: the configuration, as parsed YAML.
        source: name of the file, for the error.

    Raises:
        ConfigurationError: the values have mistakes. It lists all of them.
    """
    try:
        return Environment.model_validate(values)
    except ValidationError as error:
        found: list[tuple[Place, str]] = []
        for each in error.errors(include_url=False):
            # Pydantic ends the place of a wrong key of a map with this.
            place = each["loc"][:-1] if each["loc"][-1:] == ("[key]",) else each["loc"]
            # A field of several types has one error for each of them, of which the first is shown. Checks
            # across fields may add more.
            if each["type"] == "environment" or place not in dict(found):
                found.append((place, in_words(each, Environment)))
        across = _cross_mistakes(values, [place for place, _ in found])
        found += [mistake for mistake in across if mistake not in found]
        lines = [f"  {field_path(place) or '(top)'}: {text}" for place, text in found]
        count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
        message = f"{source} has {count}; nothing has been changed:\n" + "\n".join(lines)
    raise ConfigurationError(message)


def _cross_mistakes(values: Mapping[str, Any], found: list[Place]) -> list[tuple[Place, str]]:
    """Mistakes that the checks across fields find in ``values`` once the wrong fields are left out.

    Pydantic runs those checks only when each field is right by itself. Where a required field is wrong,
    nothing is found: there is no value to compare with.
    """
    rest = copy.deepcopy(dict(values))
    for loc in found:
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
    """The environment of the running stack, with host keys read from their files.

    Raises:
        ConfigurationError: the configuration, or a file that it names, is missing or wrong.
    """
    stack = pulumi.get_stack()
    source = f"Pulumi.{stack}.yaml"
    try:
        values = pulumi.Config("jarvis").get_object("environment")
    except pulumi.ConfigTypeError:
        values = None
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{source} has no jarvis:environment; the README has a complete example")
    env = with_host_keys(parse_environment(values, source), source)
    check_encrypted(env, source, encrypted=is_config_secret("jarvis:environment"), file=_stack_file(source))
    return env


def _stack_file(source: str) -> Path:
    """The file that the CLI reads the configuration from."""
    return Path(os.environ.get("PULUMI_OPTION_CONFIG_FILE") or PROJECT / source)


def check_encrypted(env: Environment, source: str, *, encrypted: bool, file: Path) -> None:
    """Checks that every secret option is encrypted in the configuration file.

    Args:
        env: the environment.
        source: name of the file, for the error.
        encrypted: something in the configuration is encrypted. Enough where ``file`` is elsewhere.
        file: the configuration file.

    Raises:
        ConfigurationError: secrets stand there in plain text. It names the options, without their values.
    """
    services = {
        name: list(settings.secret_options)
        for name, settings in env.openstack
        if isinstance(settings, ServiceSettings) and settings.secret_options
    }
    if not services:
        return
    written: Any = {}
    if file.is_file():
        import yaml  # only here: most stacks have no secret option

        try:
            written = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
        written = _at(written, "config", "jarvis:environment", "openstack")
    lines = []
    for service, names in services.items():
        found = _at(written, service, "secret_options")
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


def _at(document: Any, *path: str) -> dict[str, Any]:
    """The map at ``path`` of ``document``; an empty one where there is none."""
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def with_host_keys(env: Environment, source: str, folder: Path = PROJECT) -> Environment:
    """``env`` with each ``host_key_file`` read into ``host_key``.

    Args:
        env: the environment.
        source: name of the configuration file, for the error.
        folder: folder that the files' paths are relative to.

    Raises:
        ConfigurationError: keys, or files of keys, are missing or wrong. It names all fields.
    """
    mistakes: list[str] = []

    def read(field: str, path: str | None) -> str | None:
        if not path:
            return None
        try:
            return (folder / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            mistakes.append(f"  {field}: there is no file {path} (the lab's are made by: make lab)")
        except UnicodeDecodeError:
            mistakes.append(f"  {field}: {path} is no text, and so no key")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            mistakes.append(f"  {field}: {path} cannot be read: {why}")
        return None

    def checked(field: str, key: str | None, path: str | None, address: str) -> str | None:
        origin = ""
        if path:
            field, origin = f"{field}_file", f"{path}: "
            text = read(field, path)
            key = None if text is None else host_key(text, address)
            if text is not None and key is None:
                mistakes.append(
                    f"  {field}: {path} has no key of {address} (ssh-keyscan {address} prints it)"
                )
        why = "" if key is None else host_key_mistake(key)
        if why:
            mistakes.append(f"  {field}: {origin}{why}")
        return key

    servers: list[Server] = []
    for at, server in enumerate(env.servers):
        read(f"servers[{at}].private_key_file", server.private_key_file)
        key = checked(f"servers[{at}].host_key", server.host_key, server.host_key_file, str(server.address))
        servers.append(server.model_copy(update={"host_key": key}))
    ssh, bastion = env.ssh, env.ssh.bastion
    read("ssh.private_key_file", ssh.private_key_file)
    if bastion is not None:
        read("ssh.bastion.private_key_file", bastion.private_key_file)
        key = checked("ssh.bastion.host_key", bastion.host_key, bastion.host_key_file, bastion.host)
        ssh = ssh.model_copy(update={"bastion": bastion.model_copy(update={"host_key": key})})
    if mistakes:
        raise ConfigurationError(
            f"{source} has keys that are none or not there; nothing has been changed:\n" + "\n".join(mistakes)
        )
    return env.model_copy(update={"servers": servers, "ssh": ssh})


def host_key(text: str, address: str) -> str | None:
    """The public key of a server out of a file.

    Args:
        text: a known_hosts file (sshd(8)), or one public key.
        address: the server's address.
    """
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-")):
            return " ".join(words[:2])
        if len(words) >= 3 and address in words[0].split(","):
            return " ".join(words[1:3])
    return None
