"""What cannot be made again, and what no change of the configuration may therefore take away by mistake.

A resource that holds such data is declared where it is made: ``protect=guard(...)``. That is Pulumi's own
protection: the engine deletes and replaces no such resource. Beside it the program knows by name what the
last finished ``up`` protected (``jarvis.core.deployed``), so that a preview ends with one error that says
what would be lost, and not with one of the engine's for each resource.
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
    """``what`` would be lost; the ``names`` of it in ``safety.may_remove``. ``kept``: it is protected."""

    what: str
    names: Sequence[str]
    kept: bool


@dataclass
class _Program:
    """What the program that runs has declared, by the name of the resource."""

    safety: Safety = field(default_factory=lambda: Safety(protect=False))
    # Servers that are: they may go as if ``may_remove`` named them.
    lost: Sequence[str] = ()
    guarded: dict[str, Guarded] = field(default_factory=dict)


_program = _Program()


def begin(safety: Safety, lost: Sequence[str] = ()) -> None:
    """Begins a program under ``safety``, of which nothing has been declared yet. ``lost``: servers that are,
    which need not stand in ``safety.may_remove``: they have gone already."""
    _program.safety, _program.lost, _program.guarded = safety, lost, {}


def guard(name: str, what: str, *owners: str, ends: bool = False) -> bool:
    """Declares the resource ``name``, which holds ``what``, and returns whether Pulumi is to protect it.

    Args:
        name: its logical name, unique among all that are declared.
        what: what would be lost with it, for the error.
        owners: other names that stand for it in ``safety.may_remove``, such as its server's.
        ends: it is on its way out, and the next rotation takes it away: never protected.

    Raises ``ValueError`` for a name that is declared already.
    """
    safety = _program.safety
    names = (*owners, name)
    if safety.protect and name in _program.guarded:
        raise ValueError(f"two resources that hold data are called {name}")
    kept = safety.protect and not ends and not allowed(names)
    _program.guarded[name] = Guarded(what=what, names=names, kept=kept)
    return kept


def kept() -> dict[str, dict[str, Any]]:
    """What is declared, for the next run to compare with (``check``)."""
    if not _program.safety.protect:
        return {}
    return {
        name: {"what": one.what, "names": list(one.names), "kept": one.kept}
        for name, one in _program.guarded.items()
        if one.kept or allowed(one.names)
    }


def check(deployed: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares what the program has declared with what ``kept`` returned when it was deployed.

    Warns of what ``safety.may_remove`` takes the protection from.

    Raises ``ConfigurationError`` with everything that would be lost and is not named there, and for a name
    there that stands for nothing.
    """
    safety, now = _program.safety, _program.guarded
    if not safety.protect:
        return
    gone = {name: one for name, one in deployed.items() if name not in now}
    lost = {name: one for name, one in gone.items() if one["kept"] and not allowed(one["names"])}
    if lost:
        # The engine's answer has no order.
        told = sorted((str(one["names"][0]), str(one["what"])) for one in lost.values())
        lines = "\n".join(f"  {what}" for _, what in told)
        owners = ", ".join(dict.fromkeys(owner for owner, _ in told))
        raise ConfigurationError(
            f"this would be lost, and is protected; nothing has been changed:\n{lines}\n"
            f"if it is to go, name it in safety.may_remove, for this one change: [{owners}]"
            " (docs/operating.md, Protection)"
        )
    names = {each for one in now.values() for each in one.names}
    names |= {str(each) for one in gone.values() for each in one["names"]}
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
        elif name in safety.may_remove:
            pulumi.log.warn(
                f"safety.may_remove: nothing of {name} is protected; take the name out after this change"
            )


def allowed(names: Sequence[str]) -> bool:
    """Whether what is called by one of ``names`` may go."""
    return bool(set(names) & {*_program.safety.may_remove, *_program.lost})
