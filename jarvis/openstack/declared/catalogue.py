"""All kinds of objects that an environment may declare, and those of an environment."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from jarvis.config.types import Place
from jarvis.openstack.declared.group import GROUP
from jarvis.openstack.declared.image import IMAGE
from jarvis.openstack.declared.model import Declaration, Kind, Reference, Wanted
from jarvis.openstack.declared.program import DEFAULT_DOMAIN, key_of
from jarvis.openstack.declared.project import PROJECT
from jarvis.openstack.declared.role_assignment import ROLE_ASSIGNMENT

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

KINDS: tuple[Kind, ...] = (PROJECT, GROUP, ROLE_ASSIGNMENT, IMAGE)


def kind_of(name: str) -> Kind | None:
    """The kind called ``name``; ``None`` where a later Jarvis knows it."""
    return next((kind for kind in KINDS if kind.name == name), None)


def declared(env: Environment) -> list[Declaration]:
    """The objects that ``env`` declares, in the order of kinds."""
    openstack: Any = env.openstack
    admin = str(openstack.keystone.admin_project)
    return [
        Declaration(
            place=("openstack", "objects", kind.section, at),
            kind=kind,
            settings=one,
            wanted=Wanted(
                kind=kind.name,
                key=one.key(),
                where=one.where(admin),
                fields=one.fields(),
                fixed=kind.fixed,
                sha256=source.sha256 if (source := one.source()) else "",
            ),
        )
        for kind in KINDS
        for at, one in enumerate(getattr(openstack.objects, kind.section))
    ]


def object_mistakes(env: Environment) -> Iterator[tuple[Place, str]]:
    """What is wrong with the objects of ``env``, one sentence for each field."""
    found = declared(env)
    keys: dict[str, Declaration] = {}
    for one in found:
        if one.kind.service not in env.openstack.services:
            yield (
                one.place,
                f"{one.kind.section} are {one.kind.service}'s, which is not among openstack.services",
            )
        # MariaDB tells no upper case from lower, and so neither does Keystone.
        first = keys.setdefault(one.key.casefold(), one)
        if first is not one:
            yield one.place, f"{one.key} is declared twice"
    for one in found:
        for reference in one.settings.references():
            text = _unknown(env, reference, keys)
            if text:
                yield (*one.place, reference.field), text


def _unknown(env: Environment, reference: Reference, keys: dict[str, Declaration]) -> str:
    """Why ``reference`` leads to nothing; empty where it does, or where only Keystone can tell."""
    kind = kind_of(reference.kind)
    openstack: Any = env.openstack
    own = key_of("project", openstack.keystone.admin_project, DEFAULT_DOMAIN)
    if kind is None or reference.domain != DEFAULT_DOMAIN or reference.key in (own, *_exact(keys)):
        return ""
    near = get_close_matches(reference.key, _exact(keys), n=1)
    hint = f"the closest is {near[0]}" if near else "declare it; one that is there is taken over as it is"
    return f"{reference.key} is not among openstack.objects.{kind.section}; {hint}"


def _exact(keys: dict[str, Declaration]) -> list[str]:
    return [one.key for one in keys.values()]
