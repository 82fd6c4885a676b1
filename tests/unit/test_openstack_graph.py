"""What of the database, the gateway and Keystone waits for what, is secret, and is touched by a change."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest

from jarvis.config import Environment, parse_environment
from jarvis.config.errors import ConfigurationError
from jarvis.core.component import Component
from jarvis.gateway import HttpGateway, HttpGatewayArgs
from jarvis.openstack.build.keys import SETTLE
from jarvis.openstack.build.keystone import Keystone
from jarvis.openstack.build.platform import Platform, PlatformArgs
from jarvis.openstack.build.service import Service, ServiceArgs
from jarvis.openstack.configuration import variable
from jarvis.openstack.option_list import read_option_list
from jarvis.openstack.options import check_service
from jarvis.openstack.services.glance import GLANCE as GLANCE_SERVICE
from jarvis.openstack.services.keystone import KEYSTONE
from jarvis.openstack.urls import route_names, routes
from jarvis.remote import Target
from jarvis.stateful import (
    Database,
    DatabaseArgs,
    LinkProxies,
    LinkProxiesArgs,
    Queue,
    QueueArgs,
    database_link,
)
from tests.unit.harness import Graph, differing, record

KNOWN = read_option_list("keystone", str(Path(__file__).parent / "layout"))
DEPLOYMENT = "kubernetes:apps/v1:Deployment keystone"
SECRET = "kubernetes:core/v1:Secret"
RINGS = ("keystone-fernet-keys", "keystone-credential-keys")


class Host(Component, token="test:Host"):
    """Stands for a server that is ready."""

    def __init__(self, env: Environment) -> None:
        self.server = env.servers[0]
        super().__init__(self.server.name)
        self.target = Target(server="one", host="192.0.2.1", host_key="ssh-ed25519 AAAA").ending_with(self)
        self.register_outputs({})


class Ceph:
    """Stands for a client of Ceph."""

    def __init__(self) -> None:
        self.config = pulumi.Output.from_input("[global]")
        self.keyrings = {
            "glance": pulumi.Output.secret("a keyring"),
            "glance.0": pulumi.Output.secret("the one before"),
        }


def _environment(**openstack: Any) -> Environment:
    rotations = openstack.pop("rotations", {})
    glance = openstack.pop("glance", {})
    roles = ["etcd", "control-plane", "worker", "registry", "database", "gateway", "queue", "storage"]
    return parse_environment(
        {
            "name": "test",
            "networks": {"management": "192.0.2.0/24", "virtual_address": "192.0.2.100"},
            "servers": [
                {"name": "one", "address": "192.0.2.1", "host_key": "ssh-ed25519 AAAA", "roles": roles}
            ],
            "openstack": {"keystone": openstack, "glance": glance},
            "rotations": rotations,
        },
        "test",
    )


def _graph(**openstack: Any) -> Graph:
    env = _environment(**openstack)

    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig="{}")
        hosts: Any = [Host(env)]
        database = Database("database", DatabaseArgs(hosts=hosts, env=env))
        queue = Queue("queue", QueueArgs(hosts=hosts, env=env))
        links = LinkProxies("link", LinkProxiesArgs(env=env, hosts=hosts, services=[database_link(env)]))
        gateway = HttpGateway(
            "gateway",
            HttpGatewayArgs(
                provider=provider,
                env=env,
                image="x/haproxy@sha256:1",
                routes=routes(env),
                names=route_names(env),
            ),
        )
        platform = Platform(
            "openstack",
            PlatformArgs(
                provider=provider,
                env=env,
                database=database,
                queue=queue,
                links=links,
                nodes=hosts,
                authorities={"gateway": gateway.authority.certificate},
            ),
        )
        keystone = Keystone(
            "keystone",
            ServiceArgs(
                service=KEYSTONE,
                platform=platform,
                image="x/keystone@sha256:1",
                cache_image="x/memcached@sha256:1",
                known=KNOWN,
            ),
        )
        Service(
            "glance",
            ServiceArgs(
                service=GLANCE_SERVICE,
                platform=platform,
                image="x/glance@sha256:1",
                cache_image="x/memcached@sha256:1",
                known=KNOWN,
                administrator=keystone.administrator,
                ceph={"glance": Ceph()},
            ),
        )

    return record(program)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return _graph()


def test_pods_start_after_the_schema_and_the_schema_after_the_account(graph: Graph) -> None:
    expand = "kubernetes:batch/v1:Job keystone-expand"
    assert expand in graph.before(DEPLOYMENT)
    account, schema, grant = (
        f"command:remote:Command keystone-{each}" for each in ("database", "schema", "grant")
    )
    assert grant in graph.before(expand)
    assert {account, schema} <= graph.before(grant)
    # Side by side.
    assert schema not in graph.before(account)
    assert account not in graph.before(schema)
    assert "command:remote:Command database-one" in graph.before(account)
    assert "command:remote:Command database-one-agent" in graph.before("command:remote:Command database-one")


def test_pods_have_a_part_of_the_queue_and_the_schema_does_not_wait_for_it(graph: Graph) -> None:
    queue = "command:remote:Command keystone-queue"
    assert queue in graph.before(DEPLOYMENT)
    assert queue not in graph.before("kubernetes:batch/v1:Job keystone-expand")
    assert "command:remote:Command queue-one" in graph.before(queue)
    assert "OS_DEFAULT__TRANSPORT_URL" in graph.resources[f"{SECRET} keystone"].inputs["data"]


def test_what_is_no_secret_of_the_database_shows_in_a_preview(graph: Graph) -> None:
    grant = graph.resources["command:remote:Command glance-grant"].inputs
    assert "GRANT ALL PRIVILEGES ON `glance`.* TO 'glance'@'%';" in grant["create"]
    assert "stdin" not in grant
    assert "CHARACTER SET utf8mb4" in graph.resources["command:remote:Command glance-schema"].inputs["create"]
    account = graph.resources["command:remote:Command glance-database"]
    assert "stdin" in account.secrets


def test_bootstrap_and_pods_do_not_wait_for_each_other(graph: Graph) -> None:
    bootstrap = "kubernetes:batch/v1:Job keystone-bootstrap"
    assert bootstrap not in graph.before(DEPLOYMENT)
    assert DEPLOYMENT not in graph.before(bootstrap)
    assert "kubernetes:batch/v1:Job keystone-expand" in graph.before(bootstrap)


def test_the_schema_shrinks_after_the_last_old_pod_and_others_register_after_keystone(graph: Graph) -> None:
    assert DEPLOYMENT in graph.before("kubernetes:batch/v1:Job keystone-contract")
    register = graph.before("kubernetes:batch/v1:Job glance-register")
    assert {DEPLOYMENT, "kubernetes:batch/v1:Job keystone-bootstrap"} <= register


def test_definitions_of_image_properties_wait_for_their_tables_alone(graph: Graph) -> None:
    job = "kubernetes:batch/v1:Job glance-metadefs"
    assert "kubernetes:batch/v1:Job glance-expand" in graph.before(job)
    assert job not in graph.before("kubernetes:apps/v1:Deployment glance")
    assert "kubernetes:apps/v1:Deployment glance" not in graph.before(job)
    [container] = graph.resources[job].inputs["spec"]["template"]["spec"]["containers"]
    # Without it a namespace that a run left half would be skipped for ever.
    assert "--merge" in container["command"]


def test_objects_have_the_provider_and_go_with_the_cluster(graph: Graph) -> None:
    objects = [one for one in graph.resources.values() if one.kind.startswith("kubernetes:")]
    assert len(objects) > 20
    for one in objects:
        assert one.deleted_with == "pulumi:providers:kubernetes cluster", one.label


def test_what_a_secret_holds_is_secret(graph: Graph) -> None:
    secrets = [one for one in graph.resources.values() if one.kind == "kubernetes:core/v1:Secret"]
    assert {one.name for one in secrets} == {
        "gateway",
        "keystone",
        "keystone-bootstrap",
        "keystone-cache",
        "keystone-cache-server",
        "keystone-fernet-keys",
        "keystone-credential-keys",
        "glance",
        "glance-ceph",
        "glance-register",
    }
    for one in secrets:
        if one.name in RINGS:
            # Filled in the cluster: nothing of it is in the program or in the state.
            assert "data" not in one.inputs
            continue
        assert any(path.startswith(("data", "stringData")) for path in one.secrets), one.label


def test_no_secret_is_in_the_open(graph: Graph) -> None:
    """Neither in an object that is no Secret, nor in what a server is told on a command line."""
    for one in graph.resources.values():
        if one.kind.startswith("kubernetes:") and one.kind != "kubernetes:core/v1:Secret":
            assert not one.secrets, one.label
            assert "passwordkeystone" not in str(one.inputs), one.label
            assert "PRIVATE KEY" not in str(one.inputs), one.label
        if one.kind == "command:remote:Command":
            assert "passwordkeystone" not in one.inputs["create"], one.label
            assert "PRIVATE KEY" not in one.inputs["create"], one.label
            assert "stdin" not in one.inputs or "stdin" in one.secrets, one.label


def test_replicas_change_the_deployment_alone(graph: Graph) -> None:
    assert differing(graph, _graph(replicas=3)) == {DEPLOYMENT}


def test_an_option_changes_its_map_and_rolls_the_pods(graph: Graph) -> None:
    assert differing(graph, _graph(options={"token.expiration": 3601})) == {
        "kubernetes:core/v1:ConfigMap keystone",
        DEPLOYMENT,
        # Keys are kept for as long as tokens live.
        "kubernetes:batch/v1:CronJob keystone-fernet",
    }


def test_a_rotated_password_rolls_the_pods_while_both_are_accepted(graph: Graph) -> None:
    then = _graph(rotations={"keystone-database": 1})
    changed = differing(graph, then)
    assert {label for label in changed if label.startswith("kubernetes:")} == {
        f"{SECRET} keystone",
        DEPLOYMENT,
    }
    statements = then.resources["command:remote:Command keystone-database"].inputs["stdin"]
    assert "PASSWORD('passwordkeystonedatabase1r1') OR" in statements
    assert "PASSWORD('passwordkeystonedatabase0r0') REQUIRE SSL" in statements


def test_pods_wait_for_their_keys_and_the_schema_does_not(graph: Graph) -> None:
    for name in ("fernet", "credential"):
        create = f"kubernetes:batch/v1:Job keystone-{name}-create"
        assert create in graph.before(DEPLOYMENT)
        assert create not in graph.before("kubernetes:batch/v1:Job keystone-expand")
        assert f"{SECRET} keystone-{name}-keys" in graph.before("kubernetes:batch/v1:Job keystone-expand")


def test_who_rotates_keys_may_replace_that_one_secret_and_nothing_else(graph: Graph) -> None:
    for name in ("keystone-fernet", "keystone-credential"):
        role = graph.resources[f"kubernetes:rbac.authorization.k8s.io/v1:Role {name}"].inputs
        [rule] = role["rules"]
        assert rule["resourceNames"] == [f"{name}-keys"]
        assert rule["resources"] == ["secrets"]
        assert rule["verbs"] == ["get", "update"]
        cron = graph.resources[f"kubernetes:batch/v1:CronJob {name}"].inputs["spec"]
        assert cron["concurrencyPolicy"] == "Forbid"
        assert cron["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] == name


def test_only_what_migrates_has_the_services_secrets(graph: Graph) -> None:
    def sources(name: str) -> Any:
        cron = graph.resources[f"kubernetes:batch/v1:CronJob {name}"].inputs["spec"]
        return cron["jobTemplate"]["spec"]["template"]["spec"]["containers"][0].get("envFrom")

    assert not sources("keystone-fernet")
    assert sources("keystone-credential")


def test_how_many_keys_there_are_follows_from_how_often_they_rotate(graph: Graph) -> None:
    then = _graph(fernet_rotation="weekly", options={"token.allow_expired_window": 8 * 86_400})
    label = "kubernetes:core/v1:ConfigMap keystone"
    assert graph.resources[label].inputs["data"]["OS_FERNET_TOKENS__MAX_ACTIVE_KEYS"] == "5"
    assert then.resources[label].inputs["data"]["OS_FERNET_TOKENS__MAX_ACTIVE_KEYS"] == "4"
    cron = then.resources["kubernetes:batch/v1:CronJob keystone-fernet"].inputs["spec"]
    [container] = cron["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["RING_MOST"] == "4"
    assert given["RING_LIFETIME"] == str(8 * 86_400 + 3600 + SETTLE)


def test_a_rotated_administrator_is_bootstrapped_again(graph: Graph) -> None:
    changed = differing(graph, _graph(rotations={"keystone-admin": 1}))
    assert {label for label in changed if label.startswith("kubernetes:")} == {
        f"{SECRET} keystone-bootstrap",
        "kubernetes:batch/v1:Job keystone-bootstrap",
    }


def test_the_cache_is_keystones_alone_and_nobody_waits_for_it(graph: Graph) -> None:
    """Whoever could write there could forge tokens; and without it Keystone is slower, and no more."""
    first, second = (f"kubernetes:apps/v1:Deployment keystone-cache-{number}" for number in (1, 2))
    # One after the other, so that a change leaves one.
    assert [one.label for one in graph.resources.values() if first in graph.before(one.label)] == [second]
    spec = graph.resources[first].inputs["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    [container] = spec["template"]["spec"]["containers"]
    [words] = [word for word in container["command"] if word.startswith("--extended=")]
    assert "ssl_verify_mode=2" in words.removeprefix("--extended=").split(",")
    data = graph.resources["kubernetes:core/v1:ConfigMap keystone"].inputs["data"]
    assert data["OS_CACHE__MEMCACHE_SERVERS"] == "keystone-cache.openstack.svc.cluster.local:11211"
    assert data["OS_CACHE__TLS_ENABLED"] == "true"
    # By default it would be an hour until some hear of a revoked token.
    assert (
        data["OS_REVOKE__CACHE_TIME"] == data["OS_IDENTITY__CACHE_TIME"] == data["OS_CACHE__EXPIRATION_TIME"]
    )
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert {Path(data[f"OS_CACHE__TLS_{kind}FILE"]).parent for kind in ("CA", "CERT", "KEY")} == {
        Path(folder) for folder in mounted
    }


def test_a_new_certificate_of_the_cache_is_a_change_of_those_who_have_one(graph: Graph) -> None:
    changed = differing(graph, _graph(rotations={"keystone-cache-certificate": 1}))
    assert {label for label in changed if label.startswith("kubernetes:")} == {
        f"{SECRET} keystone-cache",
        f"{SECRET} keystone-cache-server",
        "kubernetes:apps/v1:Deployment keystone-cache-1",
        "kubernetes:apps/v1:Deployment keystone-cache-2",
        DEPLOYMENT,
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"token.expirtion": 60}, "the closest is token.expiration"),
        ({"token.expiration": "an hour"}, "not a whole number"),
        ({"database.connection": "mysql://"}, "database.connection is secret and set by Jarvis"),
    ],
)
def test_a_wrong_option_is_known_before_there_is_any_resource(options: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        check_service(KEYSTONE, _environment(options=options), KNOWN)


LDAP = {"secret_options": {"ldap.password": "hunter2$x"}, "options": {"ldap.user": "cn=reader"}}


def test_an_operators_list_is_in_a_file_of_the_service(graph: Graph) -> None:
    then = _graph(options={"federation.trusted_dashboard": ["https://a", "https://b"]})
    files = then.resources["kubernetes:core/v1:ConfigMap keystone-files"].inputs["data"]
    assert files == {
        "jarvis.conf": "[federation]\ntrusted_dashboard = https://a\ntrusted_dashboard = https://b\n"
    }
    assert "kubernetes:core/v1:ConfigMap keystone-files" not in graph.resources


def test_a_secret_option_is_in_the_secret_alone(graph: Graph) -> None:
    then = _graph(**LDAP)
    secret = then.resources[f"{SECRET} keystone"]
    plain = then.resources["kubernetes:core/v1:ConfigMap keystone"]
    # oslo.config would expand a dollar.
    encoded = base64.b64encode(b"hunter2$$x").decode()
    assert secret.inputs["data"]["OS_LDAP__PASSWORD"] == encoded
    assert any(path.startswith("data") for path in secret.secrets)
    assert plain.inputs["data"]["OS_LDAP__USER"] == "cn=reader"
    for one in then.resources.values():
        if one.label != secret.label:
            assert "hunter2" not in str(one.inputs), one.label
            assert encoded not in str(one.inputs), one.label


def test_a_changed_secret_option_rolls_the_pods() -> None:
    other = {**LDAP, "secret_options": {"ldap.password": "another"}}
    changed = {
        label for label in differing(_graph(**LDAP), _graph(**other)) if label.startswith("kubernetes:")
    }
    assert changed == {f"{SECRET} keystone", DEPLOYMENT}


@pytest.mark.parametrize(
    ("service", "settings", "expected"),
    [
        (
            KEYSTONE,
            {"options": {"ldap.password": "hunter2"}},
            "--path 'jarvis:environment.openstack.keystone.secret_options[\"ldap.password\"]'",
        ),
        (
            GLANCE_SERVICE,
            {"glance": {"options": {"keystone_authtoken.memcache_secret_key": "hunter2"}}},
            "openstack.glance.options.keystone_authtoken.memcache_secret_key is a secret",
        ),
        (
            KEYSTONE,
            {"secret_options": {"ldap.user": "hunter2"}},
            "ldap.user is no secret of keystone's",
        ),
        (
            KEYSTONE,
            {"secret_options": {"ldap.pasword": "hunter2"}},
            "secret_options.ldap.pasword: there is no such option; the closest is ldap.password",
        ),
        (
            KEYSTONE,
            {"secret_options": {"database.connection": "hunter2"}},
            "database.connection is secret and set by Jarvis",
        ),
    ],
)
def test_a_secret_option_has_one_place(service: Any, settings: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_service(service, _environment(**settings), KNOWN)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_jarvis_tells_in_the_open_is_no_secret_by_the_services_own_lists(graph: Graph) -> None:
    secret = {
        variable(f"{group}.{name}")
        for group, names in KNOWN.groups.items()
        for name, about in names.items()
        if about["secret"] and group.isidentifier()
    }
    for service in ("keystone", "glance"):
        data = graph.resources[f"kubernetes:core/v1:ConfigMap {service}"].inputs["data"]
        assert data.keys() & secret == set()


def test_every_object_waits_for_its_namespace(graph: Graph) -> None:
    for one in graph.resources.values():
        namespace = one.inputs.get("metadata", {}).get("namespace")
        if one.kind.startswith("kubernetes:") and namespace:
            assert f"kubernetes:core/v1:Namespace {namespace}" in graph.before(one.label), one.label


GLANCE = "kubernetes:apps/v1:Deployment glance"


def test_glance_starts_once_its_account_is_there_and_its_data_moves_after(graph: Graph) -> None:
    assert "kubernetes:batch/v1:Job glance-register" in graph.before(GLANCE)
    fill, contract = (f"kubernetes:batch/v1:Job glance-{task}" for task in ("fill", "contract"))
    assert GLANCE in graph.before(fill)
    assert fill in graph.before(contract)


def test_the_schema_of_glance_does_not_wait_for_keystone(graph: Graph) -> None:
    assert DEPLOYMENT not in graph.before("kubernetes:batch/v1:Job glance-expand")


def test_a_rotated_account_is_another_and_that_of_running_pods_stays(graph: Graph) -> None:
    then = _graph(rotations={"glance-register": 1})
    objects = {label for label in differing(graph, then) if label.startswith("kubernetes:")}
    job = "kubernetes:batch/v1:Job glance-register"
    assert objects == {
        job, f"{SECRET} glance-register", f"{SECRET} glance", "kubernetes:core/v1:ConfigMap glance", GLANCE,
    }  # fmt: skip
    data = then.resources["kubernetes:core/v1:ConfigMap glance"].inputs["data"]
    assert data["OS_KEYSTONE_AUTHTOKEN__USERNAME"] == data["OS_OSLO_LIMIT__USERNAME"] == "glance-2"
    [container] = then.resources[job].inputs["spec"]["template"]["spec"]["containers"]
    assert {"name": "REGISTER_ACCOUNT", "value": "glance-2"} in container["env"]


def test_quotas_change_what_is_registered_alone(graph: Graph) -> None:
    then = _graph(glance={"quotas": {"image_count_total": 5}})
    assert differing(graph, then) == {"kubernetes:batch/v1:Job glance-register"}


def test_the_job_that_registers_has_nothing_of_the_service_but_its_image(graph: Graph) -> None:
    spec = graph.resources["kubernetes:batch/v1:Job glance-register"].inputs["spec"]["template"]["spec"]
    assert not spec["containers"][0].get("envFrom")


def test_glance_is_given_longer_than_the_gateway_is_silent_and_its_pod_names_itself(graph: Graph) -> None:
    spec = graph.resources[GLANCE].inputs["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 1200
    [container] = spec["containers"]
    assert {
        "name": "OS_DEFAULT__WORKER_SELF_REFERENCE_URL", "value": "http://$(POD_ADDRESS):9292",
    } in container["env"]  # fmt: skip
    assert {"name": "glance-ceph", "mountPath": "/etc/ceph", "readOnly": True} in container["volumeMounts"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"DEFAULT.use_keystone_limit": True}, "the closest is DEFAULT.use_keystone_limits"),
        ({"keystone_authtoken.password": "x"}, "keystone_authtoken.password is secret"),
        ({"image_conversion.output_format": "iso"}, "is none of qcow2, raw, vmdk"),
    ],
)
def test_a_wrong_option_of_glance_is_known_before_there_is_any_resource(options: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        check_service(GLANCE_SERVICE, _environment(glance={"options": options}), KNOWN)


def test_a_pod_keeps_places_for_its_probes() -> None:
    def requests(**openstack: Any) -> dict[str, int | None]:
        return {each.name: each.requests for each in routes(_environment(**openstack))}

    assert requests(glance={"processes": 2, "threads": 8})["glance"] == 14
    assert requests(glance={"processes": 1, "threads": 1})["glance"] == 1
    assert requests(glance={"processes": 8, "threads": 1})["glance"] == 7
    assert requests(processes=8)["keystone"] == 7
    assert requests(processes=1)["keystone"] == 1


def _container(graph: Graph, name: str) -> dict[str, Any]:
    [container] = graph.resources[name].inputs["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_a_process_of_keystone_serves_one_request_at_a_time(graph: Graph) -> None:
    """It keeps the token of a request on an object that all threads of a process share."""
    commands = {name: _container(graph, name)["command"] for name in (DEPLOYMENT, GLANCE)}
    assert not [word for word in commands[DEPLOYMENT] if word.startswith("--threads")]
    assert "--processes=4" in commands[DEPLOYMENT]
    assert {"--processes=2", "--threads=16"} <= set(commands[GLANCE])


def test_memory_follows_from_processes_and_the_jobs_are_as_they_were(graph: Graph) -> None:
    def resources(graph: Graph, name: str) -> tuple[str, str]:
        found = _container(graph, name)["resources"]
        return found["requests"]["memory"], found["limits"]["memory"]

    assert resources(graph, DEPLOYMENT) == ("512Mi", "1024Mi")
    assert resources(graph, GLANCE) == ("512Mi", "1024Mi")
    then = _graph(processes=8, glance={"processes": 4, "threads": 8})
    assert resources(then, DEPLOYMENT) == ("896Mi", "1792Mi")
    assert resources(then, GLANCE) == ("640Mi", "1280Mi")
    # A Job cannot be changed: it would be replaced, and run again.
    assert not [name for name in differing(graph, then) if ":Job " in name]
