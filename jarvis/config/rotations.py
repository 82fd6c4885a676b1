"""How often each secret was made anew, by its name, and which names there are."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from jarvis.config.errors import ConfigurationError
from jarvis.config.types import Rotation

if TYPE_CHECKING:
    from jarvis.config.environment import Environment


class Counters(dict[str, int]):
    """Counters by name, which remember the names that they were asked for: only components know those."""

    def __init__(self, values: dict[str, int] | None = None) -> None:
        super().__init__(values or {})
        self.asked: set[str] = set()

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]  # no counter is None
        """As of a dict; the name is one that there is."""
        self.asked.add(name)
        return super().get(name, default)


Rotations = Annotated[
    dict[str, Rotation],
    AfterValidator(Counters),
    Field(default_factory=Counters, description="how often each secret was made anew, by the secret's name"),
]


def check_rotations(env: Environment) -> None:
    """Whether every counter is one that a component of the built environment asked for.

    The engine hears of no resource before the program has ended, so this comes before any change.
    Raises ``ConfigurationError`` naming each that is not, and the nearest that is.
    """
    counters = env.rotations
    assert isinstance(counters, Counters)
    mistakes = []
    for name in sorted(set(counters) - counters.asked):
        near = get_close_matches(name, sorted(counters.asked), n=1)
        hint = f"; the closest is {near[0]}" if near else ""
        mistakes.append(f"  rotations.{name}: no secret has this name{hint}")
    if mistakes:
        known = ", ".join(sorted(counters.asked))
        text = "\n".join(mistakes)
        raise ConfigurationError(
            f"the environment {env.name} has mistakes; nothing has been changed:\n{text}\nthere are: {known}"
        )
