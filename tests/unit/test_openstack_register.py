"""The script that makes a service known to Keystone, against a Keystone in memory."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from jarvis.openstack.tasks import register as program
from tests.unit.fake_keystone import FakeKeystone

ENVIRONMENT = {
    "REGISTER_NAME": "glance",
    "REGISTER_TYPE": "image",
    "REGISTER_URL": "https://image.example.org",
    "REGISTER_REGION": "one",
    "REGISTER_ACCOUNT": "glance",
    "REGISTER_PASSWORD": "abc",
    "REGISTER_PROJECT": "service",
    "REGISTER_ROLE": "service",
    "REGISTER_LIMITS": json.dumps({"image_count_total": 10, "image_size_total": 100}),
}


@pytest.fixture
def keystone() -> FakeKeystone:
    return FakeKeystone()


@pytest.fixture
def register(keystone: FakeKeystone, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the script with a changed environment; returns what it made or changed."""
    monkeypatch.setattr(program.Keystone, "call", lambda self, *words: keystone.call(*words))

    def run(**changed: str) -> list[str]:
        keystone.changes.clear()
        program.register(program.Keystone("http://x/v3", None), {**ENVIRONMENT, **changed})
        return list(keystone.changes)

    return run


def test_a_service_becomes_known_once(keystone: FakeKeystone, register: Callable[..., list[str]]) -> None:
    assert register() != []
    assert keystone.passwords == {"glance": "abc"}
    assert {one["interface"]: one["url"] for one in keystone.items["endpoints"]} == dict.fromkeys(
        ("public", "internal", "admin"), "https://image.example.org"
    )
    # No right on the system: whoever takes the account over reads neither users nor projects.
    assert keystone.grants == {"/projects/projects0/users/users0/roles/r1"}
    limits = keystone.items["registered_limits"]
    assert {one["resource_name"]: one["default_limit"] for one in limits} == {
        "image_count_total": 10,
        "image_size_total": 100,
    }
    assert {(one["service_id"], one["region_id"]) for one in limits} == {("services0", "one")}
    assert register() == []


def test_what_is_not_as_told_is_mended_and_nothing_else(register: Callable[..., list[str]]) -> None:
    register()
    assert register(REGISTER_PASSWORD="def") == ["PATCH users"]
    assert register(REGISTER_PASSWORD="def", REGISTER_URL="https://y") == ["PATCH endpoints"] * 3
    changed = {"REGISTER_PASSWORD": "def", "REGISTER_URL": "https://y"}
    assert register(**changed, REGISTER_LIMITS='{"image_count_total": 11}') == ["PATCH registered_limits"]


def test_the_next_account_leaves_the_one_before_as_it_is(
    keystone: FakeKeystone, register: Callable[..., list[str]]
) -> None:
    register()
    assert register(REGISTER_ACCOUNT="glance-2", REGISTER_PASSWORD="def") == ["POST users"]
    assert keystone.passwords == {"glance": "abc", "glance-2": "def"}
