"""Protection of data that cannot be made again from mistakes in the configuration.

A resource that holds such data declares it with ``protect=guard(...)``. That sets Pulumi's own protection:
the engine neither deletes nor replaces it. The program also knows by name what the last finished ``up``
protected (``jarvis.core.deployed``), so a preview ends with one error that lists everything that would be
lost, rather than with one error of the engine for each resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import pulumi

from jarvis.config.errors import ConfigurationError
from jarvis.config.safety import Safety


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A protected resource.

    Attributes:
        what: what would be lost with it, for the error.
        names: names that stand for it in ``safety.may_remove``.
        kept: it is protected in this run.
    """

    what: str
    names: Sequence[str]
    kept: bool


@dataclass
class _Program:
    """The declarations of the running program, by resource name."""

    safety: Safety = field(default_factory=lambda: Safety(protect=False))
    # Names of lost servers, which may go as if ``may_remove`` named them.
    lost: Sequence[str] = ()
    guarded: dict[str, Guarded] = field(default_factory=dict)
    # What would be lost, by the name that it has in ``may_remove`` beside those of resources.
    offered: dict[str, str] = field(default_factory=dict)


_program = _Program()


def begin(safety: Safety, lost: Sequence[str] = ()) -> None:
    """Starts a program: forgets all declarations.

    Args:
        safety: the environment's protection.
        lost: names of lost servers. They may go without being named in ``safety.may_remove``.
    """
    _program.safety, _program.lost, _program.guarded, _program.offered = safety, lost, {}, {}


def guard(name: str, what: str, *owners: str, ends: bool = False) -> bool:
    """Declares a resource that holds data, and says whether Pulumi is to protect it.

    Args:
        name: its logical name, unique among all that are declared.
        what: what would be lost with it, for the error.
        *owners: other names that stand for it in ``safety.may_remove``, such as its server's.
        ends: the next rotation removes it anyway, so it is never protected.

    Returns:
        The value of Pulumi's ``protect``.

    Raises:
        ValueError: a resource of this name is declared already.
    """
    safety = _program.safety
    names = (*owners, name)
    if safety.protect and name in _program.guarded:
        raise ValueError(f"two resources that hold data are called {name}")
    kept = safety.protect and not ends and not allowed(names)
    _program.guarded[name] = Guarded(what=what, names=names, kept=kept)
    return kept


def offer(name: str, what: str) -> bool:
    """Declares data that no resource holds any more, and says whether it is to go.

    Args:
        name: by which ``safety.may_remove`` may name it.
        what: what would be lost, for the warning.
    """
    _program.offered[name] = what
    return allowed([name])


def kept() -> dict[str, dict[str, Any]]:
    """The declarations as plain values, for ``check`` of the next run."""
    if not _program.safety.protect:
        return {}
    return {
        name: {"what": one.what, "names": list(one.names), "kept": one.kept}
        for name, one in _program.guarded.items()
        if one.kept or allowed(one.names)
    }


def check(deployed: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares the declarations with those that were deployed.

    Warns of each resource that ``safety.may_remove`` unprotects.

    Args:
        deployed: what ``kept`` returned in the last finished ``up``.

    Raises:
        ConfigurationError: something would be lost and is not named in ``safety.may_remove``, or a name there
            stands for nothing.
    """
    safety, now = _program.safety, _program.guarded
    if not safety.protect:
        return
    gone = {name: one for name, one in deployed.items() if name not in now}
    lost = {name: one for name, one in gone.items() if one["kept"] and not allowed(one["names"])}
    if lost:
        # The engine returns them in no order.
        told = sorted((str(one["names"][0]), str(one["what"])) for one in lost.values())
        lines = "\n".join(f"  {what}" for _, what in told)
        owners = ", ".join(dict.fromkeys(owner for owner, _ in told))
        raise ConfigurationError(
            f"this would be lost, and is protected; nothing has been changed:\n{lines}\n"
            f"if it is to go, name it in safety.may_remove, for this one change: [{owners}]"
            " (docs/operating.md, Protection)"
        )
    names = {each for one in now.values() for each in one.names}
    names |= {str(each) for one in gone.values() for each in one["names"]} | _program.offered.keys()
    wrong = [name for name in safety.may_remove if name not in names]
    if wrong:
        near = get_close_matches(wrong[0], sorted(names), n=1)
        hint = f"; the closest is {near[0]}" if near else ""
        raise ConfigurationError(
            f"safety.may_remove: nothing that is protected is called {', '.join(wrong)}{hint}. What has been"
            " removed is taken out of that list again"
        )
    for name in (*safety.may_remove, *_program.lost):
        if any(one["kept"] and name in one["names"] for one in gone.values()):
            pulumi.log.warn(
                f"{name} goes, though Pulumi still protects it: type this change as"
                " `pulumi up --ignore-protect`"
            )
        elif name in _program.offered:
            pulumi.log.warn(f"{_program.offered[name]} goes for good; take {name} out after this change")
        elif name in safety.may_remove:
            pulumi.log.warn(
                f"safety.may_remove: nothing of {name} is protected; take the name out after this change"
            )


def allowed(names: Sequence[str]) -> bool:
    """Whether a resource known by ``names`` may go."""
    return bool(set(names) & {*_program.safety.may_remove, *_program.lost})
