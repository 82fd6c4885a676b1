"""Counters of rotations against those that are deployed."""

from __future__ import annotations

import pytest

from jarvis.config import ConfigurationError
from jarvis.config.rotations import check_counters, counters
from tests.unit.test_hosts_clock import environment


@pytest.mark.parametrize(
    ("deployed", "now"),
    [
        ({}, {"keystone-admin": 7}),  # a first deployment, or one of a former version
        ({"keystone-admin": 1}, {"keystone-admin": 1}),
        ({"keystone-admin": 1.0}, {"keystone-admin": 2}),  # numbers of the engine
        ({"keystone-admin": 0}, {}),
        ({"etcd-s9": 4, "keystone-admin": 0}, {}),  # its server is gone
        ({"keystone-admin": 0}, {"etcd-s1": 3}),  # its server is new
    ],
)
def test_a_counter_goes_up_by_one(deployed: dict[str, float], now: dict[str, int]) -> None:
    check_counters(environment(rotations=now), deployed)


def test_every_jump_is_told_at_once() -> None:
    env = environment(rotations={"keystone-admin": 3, "etcd-authority": 1, "database": 2})
    with pytest.raises(ConfigurationError) as caught:
        check_counters(env, {"keystone-admin": 1, "etcd-authority": 2, "database": 1, "queue": 1})
    first, *lines = str(caught.value).splitlines()
    assert first == "counters of rotations go up by one; nothing has been changed:"
    assert [line.split(":")[0].strip() for line in lines] == [
        "rotations.etcd-authority",
        "rotations.keystone-admin",
        "rotations.queue",
    ]
    assert "2 is deployed, and 1 is less" in lines[0]
    assert "1 is deployed, and 3 is more than one further" in lines[1]
    assert "2 first, `pulumi up`" in lines[1]
    assert "1 is deployed, and 0 is less" in lines[2]


def test_what_is_recorded_has_every_counter() -> None:
    found = counters(environment(rotations={"keystone-admin": 3}))
    assert found["keystone-admin"] == 3
    assert found["etcd-s1"] == found["kubernetes-ca"] == 0
