"""The types that sections of the configuration are made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

Place = tuple[str | int, ...]


class Section(BaseModel):
    """A part of the configuration: immutable, and without unknown keys.

    A text is one line, in maps and lists too, names included: most texts end in a file of lines, where a
    second line would be another setting. Only what Pulumi encrypts may have several lines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _one_line(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields.get(info.field_name or "")
        if field is None or _has(field.annotation, (Section, SecretStr)):
            # A section checks its own fields.
            return value
        found = list(_of_many_lines(value))
        if found:
            raise refusal(cls.__name__, found)
        return value


def refusal(title: str, mistakes: list[tuple[Place, str]], kind: str = "field") -> ValidationError:
    """Pydantic's error with a sentence for each mistake, to be raised by a validator.

    Args:
        title: name of the section.
        mistakes: places, relative to what is validated, each with its sentence.
        kind: pydantic's type of the errors.
    """
    details = [
        InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=place, input=None)
        for place, text in mistakes
    ]
    return ValidationError.from_exception_data(title, details)


def _has(annotation: object, kinds: tuple[type, ...]) -> bool:
    """Whether one of ``kinds`` is somewhere in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, kinds):
        return True
    return any(_has(each, kinds) for each in get_args(annotation))


def _of_many_lines(value: object, place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        # Blanks at both ends are stripped when it is read.
        strange = next(
            (sign for sign in value.strip() if unicodedata.category(sign) in ("Cc", "Zl", "Zp")), ""
        )
        if strange:
            what = "a line break" if strange in "\n\r\v\f\x85\u2028\u2029" else f"the character {strange!r}"
            yield place, f"has {what} in it, and must be one line of plain text"
    elif isinstance(value, dict):
        for key, each in value.items():
            if any(_of_many_lines(key)):
                yield place, f"the name {key!r} is not one line of plain text"
            else:
                yield from _of_many_lines(each, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for at, each in enumerate(value):
            yield from _of_many_lines(each, (*place, at))


@dataclass(frozen=True)
class Spelled:
    """The form of a text.

    Attributes:
        pattern: regular expression of the whole text, for editors too.
        meaning: the form in words, for errors.
        longest: most characters, or ``None``.
    """

    pattern: str
    meaning: str
    longest: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(core), "pattern": f"^{self.pattern}$"}

    def check(self, text: str) -> str:
        """``text`` itself.

        Raises:
            ValueError: it has another form, or is too long.
        """
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text!r} is not {self.meaning}")
        if self.longest and len(text) > self.longest:
            raise ValueError(f"{text!r} has {len(text)} characters, and may have {self.longest}")
        return text


@dataclass(frozen=True)
class Keys:
    """The form of the names in a map."""

    spelled: Spelled

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: dict[str, Any]) -> dict[str, Any]:
        found: list[tuple[Place, str]] = []
        for name in value:
            try:
                self.spelled.check(name)
            except ValueError as error:
                found.append(((name,), str(error)))
        if found:
            raise refusal("names", found)
        return value


def _option(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError(f"{named(value)} is not a text, a number, true or false")
    return value


def _options(value: object) -> object:
    if not isinstance(value, list):
        return _option(value)
    if not value:
        raise ValueError(
            "an empty list would leave the service with its default: remove the option, or name a value"
        )
    return [_text(_option(each)) for each in value]


def _text(value: object) -> object:
    """Undoes Pulumi's conversion of texts that look like a number or a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def named(value: object) -> str:
    """A wrong value as errors show it: a text or a number as it is, anything else by its kind."""
    kinds: tuple[tuple[type, str], ...] = ((dict, "a map"), (list, "a list"), (type(None), "an empty value"))
    return next((name for kind, name in kinds if isinstance(value, kind)), repr(value))


def _network(value: object) -> object:
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{named(value)} is not a network such as 10.88.0.0/24")
    try:
        return IPv4Network(value, strict=True)
    except ValueError as error:
        if "has host bits set" in str(error):
            right = IPv4Network(value, strict=False)
            raise ValueError(
                f"{value} is the address of a host in a network; the network is {right}"
            ) from None
        raise ValueError(f"{value!r} is not a network such as 10.88.0.0/24") from None


def _address(value: object) -> object:
    if isinstance(value, IPv4Address):
        return value
    try:
        return IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{named(value)} is not an IPv4 address such as 10.88.0.11") from None


def _secret(value: object) -> object:
    """Undoes Pulumi's conversion of texts that look like a number or a boolean.

    Blanks at both ends of a secret stay.
    """
    if isinstance(value, bool):
        return SecretStr(str(value).lower())
    return SecretStr(str(value)) if isinstance(value, str | int | float) else value


def _host_key(value: str) -> str:
    words = value.split()
    if len(words) < 2 or not words[0].startswith(("ssh-", "ecdsa-")):
        raise ValueError("not a public key of sshd, such as 'ssh-ed25519 AAAAC3…' (ssh-keyscan prints it)")
    return f"{words[0]} {words[1]}"


_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"

Option = Annotated[str | int | float | bool, BeforeValidator(_option)]
# The same, or the values of an option that may be given more than once.
Options = Annotated[str | int | float | bool | list[str], BeforeValidator(_options)]
# A text that may look like a number. Editors accept both.
Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer", "number", "boolean"]})
]
DnsLabel = Annotated[
    str,
    Spelled(
        "[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "a name such as rack1-a: 1 to 63 lower-case letters, digits and -, a letter first, no - last",
    ),
]
# RFC 1035, 2.3.4: 253 characters without the last dot. Jarvis puts less than 60 in front.
DnsName = Annotated[
    str,
    Spelled(
        rf"{_LABEL}(\.{_LABEL})+",
        "a DNS name of two words or more, of lower-case letters, digits and -, such as cloud.example.org",
        longest=190,
    ),
]
Version = Annotated[
    str,
    Spelled(r"\d+\.\d+\.\d+", "a version such as 1.37.2"),
    Field(description="a version, such as 1.37.2"),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
HostKey = Annotated[str, AfterValidator(_host_key)]
Flags = Annotated[
    dict[str, Option],
    Keys(Spelled("[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a flag, which is written without its dashes")),
]
# A text that Pulumi encrypts in the configuration file, as {"secure": …}. No error shows it.
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
RotationCounter = Annotated[int, Field(ge=0, description="raise it by one to make the secret anew")]
