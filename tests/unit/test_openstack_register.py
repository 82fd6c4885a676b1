"""The script that makes a service known to Keystone, against a Keystone in memory."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest

from jarvis.openstack.build.tasks import register as program
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


def without(keystone: FakeKeystone, kind: str, **fields: str) -> None:
    keystone.items[kind] = [one for one in keystone.items[kind] if not fields.items() <= one.items()]


Change = Callable[[FakeKeystone], object]
PUT_RIGHT: list[tuple[Change, list[str]]] = [
    (lambda k: k.items["users"][0].update(enabled=False), ["PATCH users"]),
    (lambda k: k.items["projects"][0].update(enabled=False), ["PATCH projects"]),
    (lambda k: k.items["services"][0].update(enabled=False), ["PATCH services"]),
    (lambda k: k.items["services"][0].update(name="other"), ["PATCH services"]),
    (lambda k: k.items["services"][0].update(type="other"), ["PATCH services"]),
    (lambda k: k.items["endpoints"][1].update(enabled=False), ["PATCH endpoints"]),
    (lambda k: k.items["endpoints"][1].update(url="https://y", enabled=False), ["PATCH endpoints"]),
    (lambda k: without(k, "endpoints", interface="public"), ["POST endpoints"]),
    (lambda k: k.items["roles"].clear(), ["POST roles"]),
    (lambda k: k.grants.clear(), []),
    (lambda k: k.items["registered_limits"][0].update(default_limit=1), ["PATCH registered_limits"]),
    (lambda k: k.items["registered_limits"].pop(), ["POST registered_limits"]),
]


@pytest.mark.parametrize(("change", "mended"), PUT_RIGHT)
def test_what_somebody_changed_is_put_right(
    keystone: FakeKeystone, register: Callable[..., list[str]], change: Change, mended: list[str]
) -> None:
    register()
    before = copy.deepcopy((keystone.items, keystone.grants))
    change(keystone)
    assert register() == mended
    if mended[:1] != ["POST roles"]:
        same = {kind: sorted(items, key=str) for kind, items in keystone.items.items()}
        without_ids = [
            {
                kind: sorted(
                    ({key: value for key, value in one.items() if key != "id"} for one in items), key=str
                )
                for kind, items in each.items()
            }
            for each in (same, before[0])
        ]
        assert without_ids[0] == without_ids[1]
        assert keystone.grants == before[1]
    assert register() == []


def test_what_operators_have_beside_it_stays(
    keystone: FakeKeystone, register: Callable[..., list[str]]
) -> None:
    keystone.items["services"] = [{"id": "theirs", "name": "pictures", "type": "image", "enabled": True}]
    theirs = {"service_id": "theirs", "interface": "public", "region_id": "one", "url": "https://z"}
    keystone.items["endpoints"] = [{"id": "theirs", "enabled": False, **theirs}]
    register()
    assert keystone.items["services"][0]["name"] == "pictures"
    assert keystone.items["endpoints"][0] == {"id": "theirs", "enabled": False, **theirs}
    # A second endpoint of ours, elsewhere and here.
    own = {"service_id": keystone.items["services"][1]["id"], "interface": "public", "enabled": True}
    keystone.items["endpoints"].insert(0, {"id": "b", **own, "region_id": "two", "url": "https://b"})
    keystone.items["endpoints"].insert(0, {"id": "c", **own, "region_id": "one", "url": "https://c"})
    assert register() == []


def test_keystones_own_entry_has_no_account(
    keystone: FakeKeystone, register: Callable[..., list[str]]
) -> None:
    keystone.items["projects"] = [{"id": "p", "name": "admin", "domain_id": "default", "enabled": False}]
    made = register(REGISTER_ACCOUNT="", REGISTER_PROJECT="admin", REGISTER_LIMITS="{}")
    assert made == ["PATCH projects", "POST services", *["POST endpoints"] * 3]
    assert keystone.passwords == {}
    assert keystone.grants == set()
