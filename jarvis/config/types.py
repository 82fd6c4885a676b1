"""The types that the sections of the configuration are made of."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    WithJsonSchema,
)

Option = str | int | float | bool


class Section(BaseModel):
    """A part of the configuration: unknown keys are mistakes, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _network(value: object) -> object:
    if isinstance(value, str):
        return IPv4Network(value, strict=True)
    return value


def _secret(value: object) -> object:
    """Pulumi makes a number or a boolean of a text that looks like one. Blanks at a secret's ends stay."""
    if isinstance(value, bool):
        return SecretStr(str(value).lower())
    return SecretStr(str(value)) if isinstance(value, str | int | float) else value


def _host_key(value: str) -> str:
    words = value.split()
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-")):
        raise ValueError("not a public key of sshd, such as 'ssh-ed25519 AAAAC3…' (from ssh-keyscan)")
    return f"{words[0]} {words[1]}"


def _no_flag_dashes(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if name.startswith("-"):
            raise ValueError(f"{name!r}: write the flag without its dashes")
    return value


DnsLabel = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$")]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$", description="a version, such as 1.37.2")]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = IPv4Address
Network = Annotated[IPv4Network, BeforeValidator(_network)]
HostKey = Annotated[str, AfterValidator(_host_key)]
Flags = Annotated[dict[str, Option], AfterValidator(_no_flag_dashes)]
# A text that Pulumi has encrypted in the configuration file, where it is {"secure": …}. It shows in no error.
Secret = Annotated[
    SecretStr,
    BeforeValidator(_secret),
    WithJsonSchema(
        {
            "type": "object",
            "description": "written by: pulumi config set --secret --path",
            "properties": {"secure": {"type": "string"}},
            "required": ["secure"],
            "additionalProperties": False,
        }
    ),
]
Rotation = Annotated[int, Field(ge=0, description="raise it by one to make the secret anew")]
