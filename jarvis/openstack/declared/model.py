"""Declared objects: their kinds, and what the program that reads and writes them is told."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from jarvis.config.types import Place, Section, Spelled, Text
from jarvis.core.text import read_beside
from jarvis.openstack.declared.program import DEFAULT_DOMAIN, Items, key_of

# A slash parts the words of a key, and "::" those of a URN.
Name = Annotated[
    Text,
    Spelled(r"(?!.*::)[^/\s]([^/]{0,253}[^/\s])?", "a name of 1 to 255 characters, without / and ::"),
]
# What Keystone takes as a name of a project, a group or a domain.
ShortName = Annotated[
    Text, Spelled(r"(?!.*::)[^/\s]([^/]{0,62}[^/\s])?", "a name of 1 to 64 characters, without / and ::")
]
Domain = Annotated[ShortName, Field(description="name of the domain that it is in")]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The name of another object.

    Attributes:
        kind: its kind; of one that no environment declares, ``user``, ``role`` or ``domain``.
        name: its name.
        domain: the domain that it is in; ``None`` for what is in none.
        field: the field that names it, for errors.
    """

    kind: str
    name: str
    domain: str | None = None
    field: str

    @property
    def key(self) -> str:
        """What the other object is called."""
        return key_of(self.kind, self.name, self.domain)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The content of an image: one of a file and a URL.

    Attributes:
        file: path on the operator's machine.
        url: where the operator's machine fetches it.
        sha256: digest, 64 hexadecimal digits.
        format: of the disk in it, such as ``qcow2``.
    """

    file: str | None
    url: str | None
    sha256: str
    format: str


class DeclaredObject(Section):
    """An object of OpenStack, known by names."""

    def key(self) -> str:
        """What it is called in the graph and in ``safety.may_remove``: its kind, and names."""
        raise NotImplementedError

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by.

        Args:
            admin_project: the administrator's project, in the default domain.
        """
        raise NotImplementedError

    def fields(self) -> dict[str, Any]:
        """What it has, as the program reads it."""
        raise NotImplementedError

    def references(self) -> Sequence[Reference]:
        """What it names that has to be there."""
        return ()

    def source(self) -> Source | None:
        """Its content, where it has one."""
        return None


class InDomain(DeclaredObject):
    """An object that is known by its name and its domain.

    Attributes:
        kind: the name of its kind.
    """

    kind: ClassVar[str]
    name: ShortName
    domain: Domain = DEFAULT_DOMAIN

    def key(self) -> str:
        """What it is called."""
        return key_of(self.kind, self.name, self.domain)

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by."""
        return {"name": self.name, "domain": self.domain}

    def references(self) -> Sequence[Reference]:
        """Its domain."""
        return [Reference(kind="domain", name=self.domain, field="domain")]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of objects.

    Attributes:
        name: of one, such as ``project``.
        section: of all, in the environment.
        service: the service of the catalogue that has it.
        settings: how one is declared.
        api: how the program reads and writes it. Its text goes to a server.
        loses: what goes with one that is removed, for the error.
        fixed: fields that no request changes.
    """

    name: str
    section: str
    service: str
    settings: type[DeclaredObject]
    api: type[Items]
    loses: str = ""
    fixed: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A declared object in plain values.

    Attributes:
        kind: name of its kind.
        key: what it is called.
        where: what it is found by.
        fields: what it has.
        fixed: fields that no request changes.
        sha256: digest of its content; empty where it has none.
        content: other digests of it by algorithm, and its ``size`` in bytes, as far as they are known.
    """

    kind: str
    key: str
    where: Mapping[str, Any]
    fields: Mapping[str, Any]
    fixed: Sequence[str] = ()
    sha256: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """What the program is told."""
        return {
            "kind": self.kind,
            "key": self.key,
            "where": dict(self.where),
            "fields": dict(self.fields),
            **({"fixed": list(self.fixed)} if self.fixed else {}),
            **({"content": dict(self.content)} if self.content else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """An object as the environment declares it.

    Attributes:
        place: where, for errors.
        kind: its kind.
        settings: its section.
        wanted: the same in plain values.
    """

    place: Place
    kind: Kind
    settings: DeclaredObject
    wanted: Wanted

    @property
    def key(self) -> str:
        """What it is called."""
        return self.wanted.key


def program_text(kinds: Sequence[Kind]) -> str:
    """The program that reads and writes objects of ``kinds``, with the classes of those that have one."""
    classes = list(dict.fromkeys(kind.api for kind in kinds if kind.api is not Items))
    names = ", ".join(f'"{kind.name}": {kind.api.__name__}' for kind in kinds)
    parts = [read_beside(__file__, "program.py"), *map(inspect.getsource, classes)]
    return "\n\n".join(part.rstrip("\n") + "\n" for part in parts) + f"\n\nsys.exit(main({{{names}}}))\n"
