"""What is protected, and what a change of the configuration may take away."""

from __future__ import annotations

import pytest

from jarvis.config import ConfigurationError
from jarvis.config.safety import Safety
from jarvis.core import safety


def program(
    *servers: str, protect: bool = True, may_remove: tuple[str, ...] = (), lost: tuple[str, ...] = ()
) -> list[bool]:
    """A program with a member on each server, and an authority; what of them Pulumi protects."""
    safety.begin(Safety(protect=protect, may_remove=list(may_remove)), lost)
    members = [safety.guard(f"etcd-{name}", f"etcd on {name}", name) for name in servers]
    old = safety.guard("authority-1", "authority 1", "authority", ends=True)
    return [*members, safety.guard("authority-2", "authority 2", "authority"), old]


def test_what_is_named_and_what_ends_anyway_is_not_protected() -> None:
    assert program("a", "b") == [True, True, True, False]
    assert program("a", "b", may_remove=("b",)) == [True, False, True, False]
    assert program("a", "b", may_remove=("etcd-b", "authority")) == [True, False, False, False]
    assert program("a", "b", protect=False) == [False] * 4


def test_all_that_would_be_lost_is_told_at_once() -> None:
    program("a", "b", "c")
    deployed = safety.kept()
    program("a")
    with pytest.raises(ConfigurationError) as caught:
        safety.check(deployed)
    text = str(caught.value)
    assert "  etcd on b\n  etcd on c\n" in text
    assert "authority" not in text
    assert "safety.may_remove, for this one change: [b, c]" in text


def test_what_is_named_may_go_and_is_told(warnings: list[str]) -> None:
    program("a", "b")
    deployed = safety.kept()
    program("a", may_remove=("b",))
    safety.check(deployed)
    assert "pulumi up --ignore-protect" in warnings[0]
    # It was named by an `up` before it was taken away: then the engine lets it go as it is.
    program("a", "b", may_remove=("b",))
    safety.check(deployed)
    assert "nothing of b is protected" in warnings[1]
    deployed = safety.kept()
    program("a", may_remove=("b",))
    safety.check(deployed)
    assert "--ignore-protect" not in warnings[2]


@pytest.mark.parametrize(
    ("name", "hint"), [("b", "called b"), ("etcd-aa", "called etcd-aa; the closest is etcd-a")]
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, hint: str) -> None:
    """So is one that is still there after its change: the next server of that name would not be protected."""
    program("a", may_remove=(name,))
    with pytest.raises(ConfigurationError, match=hint):
        safety.check({})


def test_two_resources_of_one_name_could_not_be_told_apart() -> None:
    program("a")
    with pytest.raises(ValueError, match="etcd-a"):
        safety.guard("etcd-a", "another")


def test_a_skipped_generation_of_an_authority_is_a_loss() -> None:
    program("a")
    deployed = safety.kept()
    safety.begin(Safety())
    for number in (3, 4, 5):
        safety.guard(f"authority-{number}", f"authority {number}", "authority", ends=number == 3)
    safety.guard("etcd-a", "etcd on a", "a")
    with pytest.raises(ConfigurationError, match="  authority 2\n"):
        safety.check(deployed)


def test_without_protection_nothing_is_recorded_or_refused() -> None:
    program("a", "b")
    deployed = safety.kept()
    assert set(deployed) == {"etcd-a", "etcd-b", "authority-2"}
    program("a", protect=False)
    safety.check(deployed)
    assert safety.kept() == {}


def test_a_lost_server_need_not_be_named_and_what_to_type_is_told_once(warnings: list[str]) -> None:
    program("a", "b")
    deployed = safety.kept()
    program("a", lost=("b",))
    safety.check(deployed)
    assert warnings == [
        "b goes, though Pulumi still protects it: type this change as `pulumi up --ignore-protect`"
    ]
    # From the next `up` on there is nothing left of it to speak of.
    deployed = safety.kept()
    program("a", lost=("b",))
    safety.check(deployed)
    assert len(warnings) == 1
