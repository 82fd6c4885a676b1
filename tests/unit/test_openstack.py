"""Options, their environment, keys and pods: what a service of OpenStack is told."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from jarvis.config.errors import ConfigurationError
from jarvis.core.pods import fingerprint, patient
from jarvis.gateway.haproxy import PLACES
from jarvis.gateway.http import USER as GATEWAY_USER
from jarvis.openstack.build.cache import USER as CACHE_USER
from jarvis.openstack.build.pods import GOODBYE, PodArgs, job_template, uwsgi_command, web_template
from jarvis.openstack.catalogue import CATALOGUE
from jarvis.openstack.clouds import clouds_yaml
from jarvis.openstack.configuration import encoded, environment
from jarvis.openstack.model import DRAIN
from jarvis.openstack.option_list import OptionList, check_options, read_option_list
from jarvis.openstack.rings import max_active_keys

IMAGES = Path(__file__).resolve().parents[2] / "images"


def _option(type: str = "string value", **about: Any) -> dict[str, Any]:
    return {"type": type, "multi": False, "choices": [], "min": None, "max": None, **about}


KNOWN = OptionList(
    groups={
        "DEFAULT": {"debug": _option("boolean value"), "policy_dirs": _option("multi valued", multi=True)},
        "token": {
            "expiration": _option("integer value", min=0, max=9223372036854775807),
            "provider": _option(choices=["fernet", "jws"]),
        },
        "fernet_tokens": {"max_active_keys": _option("integer value", min=1)},
    },
    renamed={"DEFAULT.max_keys": "fernet_tokens.max_active_keys"},
)


def test_options_become_variables_as_oslo_config_names_them() -> None:
    assert environment({"token.expiration": 60, "DEFAULT.debug": True, "cors.allowed_origin": "a,b"}) == {
        "OS_CORS__ALLOWED_ORIGIN": "a,b",
        "OS_DEFAULT__DEBUG": "true",
        "OS_TOKEN__EXPIRATION": "60",
    }


def test_a_dollar_is_not_expanded() -> None:
    assert environment({"database.connection": "a$b$$c"}) == {"OS_DATABASE__CONNECTION": "a$$b$$$$c"}


@pytest.mark.parametrize("name", ["debug", "DEFAULT.", ".debug", "DEFAULT.de-bug", "a b.c", "DEFAULT.x=y"])
def test_a_name_of_another_form_is_a_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="is not an option's name"):
        environment({name: "1"})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("token.expirtion", 60, "no such option; the closest is token.expiration"),
        ("fernet_tokens.max_activ_keys", 3, "no such option; the closest is fernet_tokens.max_active_keys"),
        ("tokens.expiration", 60, "no group tokens; the closest is token"),
        ("DEFAULT.max_keys", 3, "is now called fernet_tokens.max_active_keys"),
        ("DEFAULT.policy_dirs", "/x", "give a list of values, such as [/x]"),
        ("DEFAULT.policy_dirs", ["/x", "a\nb"], "each value is one line"),
        ("token.provider", ["jws"], "may be given more than once; give one"),
        ("token.expiration", "an hour", "'an hour' is not a whole number"),
        ("token.expiration", True, "'True' is not a whole number"),
        ("token.expiration", -1, "-1 is not between 0 and"),
        ("token.provider", "uuid", "'uuid' is none of fernet, jws"),
        ("DEFAULT.debug", "perhaps", "'perhaps' is not true or false"),
    ],
)
def test_an_option_that_would_not_be_heeded_is_a_mistake(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_options("keystone", KNOWN, {name: value})
    assert f"openstack.keystone.options.{name}" in str(caught.value)
    assert expected in str(caught.value)


def test_all_mistakes_come_at_once_and_good_options_pass() -> None:
    good: dict[str, Any] = {"token.expiration": 60, "token.provider": "jws", "DEFAULT.debug": False}
    check_options("keystone", KNOWN, good)
    with pytest.raises(ConfigurationError) as caught:
        check_options("keystone", KNOWN, {**good, "token.a": 1, "DEFAULT.debog": True})
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_list_of_options_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make artifacts"):
        read_option_list("keystone", str(tmp_path))
    (tmp_path / "options.json").write_text('{"groups": {"DEFAULT": {}}, "renamed": {}}')
    assert read_option_list("keystone", str(tmp_path)).groups == {"DEFAULT": {}}


def test_tokens_can_be_read_as_long_as_they_may() -> None:
    # An hour, two days of grace, one rotation a day: 49 hours are three days begun, and two more keys.
    assert max_active_keys(expiration=3600, allow_expired_window=172_800, rotation=86_400) == 5
    assert max_active_keys(expiration=86_400, allow_expired_window=0, rotation=86_400) == 3
    assert max_active_keys(expiration=86_401, allow_expired_window=0, rotation=86_400) == 4


def test_a_fingerprint_tells_parts_and_keys_apart() -> None:
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint(["a"], key="x") != fingerprint(["a"], key="y")
    assert fingerprint(["a"], key="x") == fingerprint(["a"], key="x")


def test_a_secret_is_encoded() -> None:
    assert encoded({"a": "ü"}) == {"a": "w7w="}


POD = PodArgs(
    service="keystone",
    user=42424,
    image="registry.example/keystone@sha256:1",
    config_maps=["keystone"],
    secrets=["keystone"],
    folders={"/etc/keystone/fernet-keys": "keystone-fernet-keys"},
    scratch={"/var/lib/some_thing": 3},
    addressed={"OS_DEFAULT__X": "http://$(POD_ADDRESS):1"},
)


def _templates() -> list[dict[str, Any]]:
    web = web_template(POD, command=["uwsgi"], port=5000, health="/healthcheck", revision="1")
    job = job_template(
        POD, task="expand", command=["x"], variables={}, secrets={}, scripts="x", revision=None
    )
    speaker = job_template(
        dataclasses.replace(POD, account="x"),
        task="keys", command=["x"], variables={}, secrets={}, scripts=None, revision=None,
    )  # fmt: skip
    return [web, job, speaker]


@pytest.mark.parametrize("template", _templates(), ids=["web", "job", "speaker"])
def test_every_pod_keeps_to_the_restricted_standard(template: dict[str, Any]) -> None:
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert {"requests", "limits"} <= container["resources"].keys()
        assert {mount["name"] for mount in container["volumeMounts"]} == {
            volume["name"] for volume in spec["volumes"]
        }
    for volume in spec["volumes"]:
        assert volume.get("secret", {}).get("defaultMode", 0o440) == 0o440


def test_a_pod_has_a_token_of_kubernetes_only_where_it_speaks_to_it() -> None:
    web, job, speaker = (template["spec"] for template in _templates())
    for spec in (web, job):
        assert "serviceAccountName" not in spec
        assert not [volume for volume in spec["volumes"] if "projected" in volume]
    assert speaker["serviceAccountName"] == "x"
    [volume] = [volume for volume in speaker["volumes"] if "projected" in volume]
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 600


def test_what_kubernetes_would_not_keep_is_in_no_template() -> None:
    """It would show as a change after a refresh."""
    bare = dataclasses.replace(POD, config_maps=[], secrets=[], addressed={})
    for revision in (None, "1"):
        template = job_template(
            bare, task="x", command=["x"], variables={}, secrets={}, scripts=None, revision=revision
        )
        assert ("annotations" in template["metadata"]) == (revision is not None)
        [container] = template["spec"]["containers"]
        assert not {"env", "envFrom"} & container.keys()


def test_a_pod_that_stops_has_time_to_say_goodbye() -> None:
    spec = _templates()[0]["spec"]
    assert spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] == GOODBYE
    assert spec["terminationGracePeriodSeconds"] > GOODBYE + DRAIN
    command = uwsgi_command(module="m", port=1, processes=3)
    assert f"--worker-reload-mercy={DRAIN}" in command
    assert "--processes=3" in command
    assert not any("die-on-term" in word for word in command)
    assert "--thunder-lock" not in command, "processes alone would wait for each other"


def test_a_service_may_have_longer_for_what_is_under_way() -> None:
    template = web_template(POD, command=["x"], port=1, health="/", revision="1", drain=900)
    assert template["spec"]["terminationGracePeriodSeconds"] > GOODBYE + 900
    command = uwsgi_command(module="m", port=1, processes=3, threads=5, drain=900)
    assert "--hook-post-fork=unix_signal:1 _exit" in command
    assert {"--worker-reload-mercy=900", "--threads=5", "--thunder-lock"} <= set(command)


def test_what_a_web_server_says_beside_the_services_log_becomes_json_as_well() -> None:
    command = uwsgi_command(module="m", port=1, processes=3)
    rules = dict(word.partition("=")[2].split(" ", 1) for word in command if word.startswith("--log-route="))
    for line in ('{"message": "of the service"}', "spawned uWSGI worker 1", "[x] a warning"):
        assert [bool(re.search(rule, line)) for rule in rules.values()].count(True) == 1, line
    [encoder] = [word for word in command if word.startswith("--log-encoder=json:")]
    target, _, form = encoder.removeprefix("--log-encoder=json:").partition(" ")
    assert re.search(rules[target], "spawned uWSGI worker 1")
    # Without an end of its own, two messages would be on one line.
    assert form.endswith("\n")
    assert json.loads(form.replace("${msg}", "spawned"))["message"] == "spawned"


def test_a_pods_address_is_known_before_what_names_it_and_scratch_space_has_a_limit() -> None:
    for template in _templates():
        [container] = template["spec"]["containers"]
        address, named = container["env"][:2]
        assert address["name"] == "POD_ADDRESS"
        assert address["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        assert named == {"name": "OS_DEFAULT__X", "value": "http://$(POD_ADDRESS):1"}
        volume = {"name": "var-lib-some-thing", "emptyDir": {"sizeLimit": "3Gi"}}
        assert volume in template["spec"]["volumes"]


def test_users_are_those_of_the_images() -> None:
    services = {one.name: one.user for one in CATALOGUE}
    users = services | {"haproxy": GATEWAY_USER, "memcached": CACHE_USER}
    assert len(set(users.values())) == len(users)
    for image, user in users.items():
        recipe = tomllib.loads((IMAGES / image / "recipe.toml").read_text())
        assert recipe["runtime"]["user"] == user


def test_the_gateway_has_a_place_for_every_pod_there_may_be() -> None:
    from jarvis.config.service import ServiceSettings

    [limit] = [each.le for each in ServiceSettings.model_fields["replicas"].metadata if hasattr(each, "le")]
    assert 2 * limit <= PLACES


def test_the_clients_file() -> None:
    text = clouds_yaml(
        cloud="jarvis",
        url="https://192.0.2.100/identity/v3",
        region="RegionOne",
        username="admin",
        password="abc",
        project="admin",
        authority_file="/ca.pem",
        endpoints={"identity": "https://192.0.2.100/identity/v3", "load-balancer": "https://x"},
    )
    cloud = yaml.safe_load(text)["clouds"]["jarvis"]
    assert cloud["auth"]["auth_url"] == "https://192.0.2.100/identity/v3"
    assert cloud["auth"]["password"] == "abc"
    assert cloud["cacert"] == "/ca.pem"
    assert cloud["identity_endpoint_override"] == "https://192.0.2.100/identity/v3"
    assert cloud["load_balancer_endpoint_override"] == "https://x"


def test_probes_of_slow_servers_wait_longer() -> None:
    words: dict[str, Any] = {"command": ["x"], "port": 1, "health": "/", "revision": "1"}
    [usual] = web_template(POD, **words)["spec"]["containers"]
    [slow] = web_template(POD, **words, patience=20)["spec"]["containers"]
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert slow[kind]["timeoutSeconds"] == 20 * usual[kind]["timeoutSeconds"]
    assert slow["startupProbe"]["failureThreshold"] == 20 * usual["startupProbe"]["failureThreshold"]
    bare = patient({"spec": {"containers": [{"livenessProbe": {"periodSeconds": 20}}]}}, 20)
    assert bare["spec"]["containers"][0]["livenessProbe"] == {"periodSeconds": 20, "timeoutSeconds": 20}
