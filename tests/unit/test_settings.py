"""Flags and fields: held against the list of the release, and against what Jarvis sets itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from jarvis.config import ConfigurationError, Environment, parse_environment
from jarvis.config.artifacts import Release
from jarvis.config.owned import OWNED, reason
from jarvis.config.settings import SettingsList, check_settings
from jarvis.etcd.unit import flags as etcd_flags
from jarvis.kubernetes.control_plane import apiserver_flags, controller_manager_flags, scheduler_flags

PROJECT = Path(__file__).resolve().parents[2]
LIST = {
    "flags": {
        "etcd": {
            "quota-backend-bytes": "int",
            "snapshot-count": "int",
            "auto-compaction-retention": "string",
        },
        "kube-apiserver": {
            "max-requests-inflight": "int",
            "request-timeout": "duration",
            "goaway-chance": "float",
            "profiling": "bool",
            "node-ip": "ip",
            "feature-gates": "colonSeparatedMultimapStringString",
        },
        "kube-controller-manager": {"v": "Level"},
        "kube-scheduler": {},
    },
    "gates": {"kube-apiserver": ["CBORServingAndStorage"], "kubelet": ["KubeletInUserNamespace"]},
    "fields": {
        "KubeletConfiguration": {
            "maxPods": "int32",
            "failSwapOn": "bool",
            "failCgroupV1": "bool",
            "syncFrequency": "duration",
            "evictionHard": "map[string]string",
            "featureGates": "map[string]bool",
            "allowedUnsafeSysctls": ["string"],
            "registerWithTaints": [{"key": "string", "effect": "string"}],
            "memorySwap": {"swapBehavior": "string"},
            "staticPodPath": "string",
            "staticPodURLHeader": "map[string][]string",
            "logging": {"verbosity": "unknown"},
        },
        "KubeProxyConfiguration": {"conntrack": {"maxPerCore": "int32"}},
    },
}


def environment(**sections: Any) -> Environment:
    document = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    values = document["config"]["jarvis:environment"]
    return parse_environment({**values, **sections}, "x")


def found(**sections: Any) -> list[str]:
    return list(SettingsList(**LIST).mistakes(environment(**sections)))  # type: ignore[arg-type]


def test_what_the_example_has_is_known() -> None:
    assert found() == []


FLAGS = [
    ("max-requests-inflight", 800, ""),
    ("request-timeout", "1m30s", ""),
    ("goaway-chance", 0.001, ""),
    ("profiling", True, ""),
    ("node-ip", "10.0.0.1", ""),
    ("feature-gates", "CBORServingAndStorage=true", ""),
    ("feature-gates", "kube:CBORServingAndStorage=false,wardle:Other=true", ""),
    ("max-request-inflight", 800, "kube-apiserver has no such flag; the closest is max-requests-inflight"),
    ("max-requests-inflight", "many", "'many' is not a whole number"),
    ("max-requests-inflight", True, "'true' is not a whole number"),
    ("request-timeout", 30, "'30' is not a time with its unit, such as 30s or 1h30m"),
    ("goaway-chance", "rare", "'rare' is not a number"),
    ("profiling", "maybe", "'maybe' is not true or false"),
    ("node-ip", "here", "'here' is not an IP address"),
    ("feature-gates", "CBORServing=true", "kube-apiserver has no feature CBORServing; the closest is"),
    (
        "feature-gates",
        "CBORServingAndStorage",
        "'CBORServingAndStorage' is not a feature with =true or =false",
    ),
]


@pytest.mark.parametrize(("flag", "value", "said"), FLAGS)
def test_flags(flag: str, value: object, said: str) -> None:
    mistakes = found(kubernetes={"apiserver_flags": {flag: value}})
    if not said:
        assert mistakes == []
    else:
        (mistake,) = mistakes
        assert mistake.startswith(f"kubernetes.apiserver_flags.{flag}: {said}")


def test_a_size_with_a_unit_is_told_in_bytes() -> None:
    assert found(etcd={"flags": {"quota-backend-bytes": "8GiB"}}) == [
        "etcd.flags.quota-backend-bytes: '8GiB' is not a whole number; 8 GiB are 8589934592 bytes"
    ]


FIELDS = [
    ({"maxPods": 200}, ""),
    ({"maxPods": None}, ""),
    ({"evictionHard": {"memory.available": "5%"}}, ""),
    ({"registerWithTaints": [{"key": "a", "effect": "NoSchedule"}]}, ""),
    ({"memorySwap": {"swapBehavior": "NoSwap"}}, ""),
    ({"staticPodURLHeader": {"a": ["b"]}, "logging": {"verbosity": 3}}, ""),
    ({"staticPodURLHeader": {"a": "b"}}, ".staticPodURLHeader.a: 'b' is not a list"),
    ({"maxPods": "abc"}, ".maxPods: 'abc' is not a number"),
    ({"maxPods": 1.5}, ".maxPods: '1.5' is not a whole number"),
    ({"maxPods": 2**31}, ".maxPods: 2147483648 is not between"),
    ({"maxpods": 1}, ".maxpods: kubelet has no such field; the closest is maxPods"),
    ({"syncFrequency": 5}, ".syncFrequency: 5 is not a text, such as 30s"),
    ({"syncFrequency": "5"}, ".syncFrequency: '5' is not a time"),
    ({"staticPodPath": 5}, ".staticPodPath: 5 is not a text, which is written in quotes"),
    ({"failSwapOn": "no"}, ".failSwapOn: 'no' is not true or false"),
    ({"evictionHard": []}, ".evictionHard: a list is not a map"),
    ({"evictionHard": {"memory.available": 5}}, ".evictionHard.memory.available: 5 is not a text"),
    (
        {"featureGates": {"KubeletInUser": True}},
        ".featureGates.KubeletInUser: kubelet has no such feature; the",
    ),
    ({"allowedUnsafeSysctls": "a"}, ".allowedUnsafeSysctls: 'a' is not a list"),
    ({"allowedUnsafeSysctls": [1]}, ".allowedUnsafeSysctls[0]: 1 is not a text"),
    ({"registerWithTaints": [{"kay": "a"}]}, ".registerWithTaints[0].kay: kubelet has no such field"),
    ({"memorySwap": "x"}, ".memorySwap: 'x' is not a map of fields: there are swapBehavior"),
]


@pytest.mark.parametrize(("given", "said"), FIELDS)
def test_fields(given: dict[str, Any], said: str) -> None:
    mistakes = found(kubernetes={"kubelet": given})
    if not said:
        assert mistakes == []
    else:
        (mistake,) = mistakes
        assert mistake.startswith(f"kubernetes.kubelet{said}")


# --- the list of a release --------------------------------------------------------------------------------


def release(settings: Path | None) -> Release:
    return Release(
        path="/dev/null",
        sha256="0" * 64,
        size=0,
        versions={},
        settings=None if settings is None else str(settings),
    )


def test_all_mistakes_come_in_one_error(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(LIST))
    env = environment(etcd={"flags": {"snapshots": 1}}, kubernetes={"kubelet": {"maxPods": "abc"}})
    with pytest.raises(ConfigurationError) as caught:
        check_settings(env, release(file))
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("nothing has been changed:")
    assert len(lines) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"flags": {}, "gates": {}, "fields": {}}', "\0"])
def test_a_broken_list_says_what_to_type(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    for each in (file, tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="build it again with: make artifacts"):
            check_settings(environment(), release(each))


def test_a_release_of_before_is_not_held_against_a_list_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", told.append)
    check_settings(environment(kubernetes={"kubelet": {"what": 1}}), release(None))
    assert "are not checked: the host release was built before" in told[0]
    told.clear()
    check_settings(environment(kubernetes={}), release(None))
    assert told == []


# --- what Jarvis sets itself ------------------------------------------------------------------------------


def refused(**sections: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        environment(**sections)
    return str(caught.value).splitlines()[1].strip()


def test_what_is_jarvis_own_is_refused_with_the_reason() -> None:
    said = refused(etcd={"flags": {"data-dir": "/tmp"}})
    assert said.startswith("etcd.flags.data-dir: Jarvis sets this itself, since the member's data")
    said = refused(kubernetes={"kubelet": {"authentication": {"anonymous": {"enabled": True}}}})
    assert said.startswith("kubernetes.kubelet.authentication.anonymous.enabled: Jarvis sets this itself")
    assert refused(database={"options": {"bind-address": "::"}}).startswith("database.options.bind-address: ")
    assert "storage.copies" in refused(storage={"options": {"osd pool default size": 1}})


def test_what_is_not_may_be_set() -> None:
    environment(
        etcd={"flags": {"quota-backend-bytes": 8 * 1024**3, "initial-election-tick-advance": False}},
        kubernetes={
            "apiserver_flags": {"max-requests-inflight": 800, "tls-min-version": "VersionTLS13"},
            "kubelet": {"authentication": {"webhook": {"cacheTTL": "1m"}}, "maxPods": 50},
            "kube_proxy": {"metricsBindAddress": "0.0.0.0:10249"},
        },
        database={"options": {"max_connections": 500}},
        storage={"options": {"mon_lease": 2}},
    )


def test_every_path_and_address_that_jarvis_gives_is_its_own() -> None:
    """A new flag with a file, an address or a network needs a reason in the table."""
    env = environment()
    server = env.servers[0]
    own = {
        ("etcd", "flags"): etcd_flags(server.name, str(server.address), {}),
        ("kubernetes", "apiserver_flags"): apiserver_flags(env, server, ["https://10.88.0.11:2379"], {}),
        ("kubernetes", "controller_manager_flags"): controller_manager_flags(env, {}),
        ("kubernetes", "scheduler_flags"): scheduler_flags(env, {}),
    }
    for place, flags in own.items():
        for name, value in flags.items():
            if (
                value.startswith("/")
                or "://" in value
                or str(server.address) in value
                or "127.0.0.1" in value
            ):
                assert reason(OWNED[place], (name,)), (place, name)
