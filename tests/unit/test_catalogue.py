"""Every service of the catalogue keeps to the rules, and an invented one has all that a service may have."""

from __future__ import annotations

import base64
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from pydantic import Field

from images import load_recipes
from jarvis.config import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.service import ProcessSettings, ServiceSettings
from jarvis.openstack import configuration
from jarvis.openstack.build.platform import Platform, PlatformArgs
from jarvis.openstack.build.registration import Administrator
from jarvis.openstack.build.service import Service, ServiceArgs
from jarvis.openstack.catalogue import CATALOGUE
from jarvis.openstack.model import (
    AnyService,
    Context,
    Database,
    KeystoneUse,
    Migration,
    Options,
    Queue,
    ServiceDefinition,
    Web,
    Worker,
)
from jarvis.openstack.option_list import OptionList
from jarvis.openstack.options import check_service
from jarvis.openstack.table import service_table
from jarvis.stateful import Database as Servers
from jarvis.stateful import DatabaseArgs, LinkProxies, LinkProxiesArgs, QueueArgs
from jarvis.stateful import Queue as Brokers
from tests.golden.test_golden import environment_of
from tests.unit.harness import Graph, differing, record
from tests.unit.runs import graph_of as stack_of
from tests.unit.test_openstack_graph import Host, _environment

PROJECT = Path(__file__).resolve().parents[2]
each_service = pytest.mark.parametrize("service", CATALOGUE, ids=lambda one: one.name)


def _twice(names: list[Any]) -> list[Any]:
    return [name for name, times in Counter(names).items() if times > 1]


def test_names_ports_and_users_are_of_one_service_each() -> None:
    webs = [web for one in CATALOGUE for _, web in one.webs()]
    for names in (
        [one.name for one in CATALOGUE],
        [one.title for one in CATALOGUE],
        [one.user for one in CATALOGUE],
        [web.port for web in webs],
        [web.host for web in webs if web.host],
        [each.name for one in CATALOGUE for each in one.databases],
        [each.name for one in CATALOGUE for each in one.queues],
        [each.client for one in CATALOGUE for each in one.ceph],
        [one.known_as(name) for one in CATALOGUE for name in one.processes],
    ):
        assert _twice(names) == []


@each_service
def test_what_a_service_needs_comes_before_it(service: AnyService) -> None:
    before = [one.name for one in CATALOGUE[: CATALOGUE.index(service)]]
    assert [name for name in service.needs if name not in before] == []
    assert service.name == "keystone" or "keystone" in service.needs


@each_service
def test_a_service_has_an_image_of_its_user_with_its_port(service: AnyService) -> None:
    recipe = load_recipes()[service.name]
    assert recipe.published
    runtime = recipe.document.runtime
    assert runtime is not None
    assert runtime.user == service.user
    assert next(service.webs())[1].port in runtime.ports


@each_service
def test_a_service_is_a_short_file(service: AnyService) -> None:
    file = PROJECT / "jarvis/openstack/services" / f"{service.name}.py"
    assert len(file.read_text().splitlines()) <= 120
    assert "pulumi" not in file.read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The production stack with every service."""
    env = environment_of("production", tmp_path_factory.mktemp("whole"))
    openstack = env.openstack.model_copy(update={"services": [one.name for one in CATALOGUE]})
    return stack_of(env.model_copy(update={"openstack": openstack}))


@each_service
def test_pods_are_confined_probed_spread_and_evicted_one_by_one(service: AnyService, whole: Graph) -> None:
    for name in service.processes:
        known_as = service.known_as(name)
        spec = whole.resources[f"kubernetes:apps/v1:Deployment {known_as}"].inputs["spec"]
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == service.user
        assert not pod["automountServiceAccountToken"]
        assert pod["topologySpreadConstraints"]
        [container] = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
        assert {"startupProbe", "livenessProbe"} <= container.keys()
        budget = whole.resources[f"kubernetes:policy/v1:PodDisruptionBudget {known_as}"].inputs["spec"]
        assert budget["selector"] == spec["selector"]


@each_service
def test_a_process_sees_the_databases_and_queues_that_it_declares(service: AnyService, whole: Graph) -> None:
    for name, process in service.processes.items():
        urls = _urls(whole, service.known_as(name))
        assert urls["mysql"] == {one.name for one in service.databases_of(process)}
        assert urls["rabbit"] == {one.name for one in service.queues_of(process)}


def _secret(graph: Graph, name: str) -> dict[str, str]:
    data = graph.resources[f"kubernetes:core/v1:Secret {name}"].inputs["data"]
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def _urls(graph: Graph, name: str) -> dict[str, set[str]]:
    """The databases and vhosts whose URLs are in a Secret, by kind."""
    found: dict[str, set[str]] = {"mysql": set(), "rabbit": set()}
    for text in _secret(graph, name).values():
        for scheme, path in re.findall(r"(mysql|rabbit)[+a-z]*://[^/]+/([a-z0-9_-]+)", text):
            found[scheme].add(path)
    return found


class ExampleSettings(ServiceSettings):
    """An invented service."""

    conductor: ProcessSettings = Field(default_factory=ProcessSettings)


@dataclass(frozen=True, kw_only=True)
class Example(ServiceDefinition[ExampleSettings]):
    """It has its settings itself: no environment has a section for it."""

    given: ExampleSettings = field(default_factory=ExampleSettings)

    def settings_in(self, env: Environment) -> ExampleSettings:
        return self.given


def _options(context: Context[ExampleSettings]) -> Options:
    return {
        "DEFAULT.debug": False,
        "oslo_messaging_notifications.driver": ["messagingv2", "log"],
        "notes.region": context.env.openstack.region,
    }


EXAMPLE = Example(
    name="example",
    title="Example",
    what="an invented service",
    settings=ExampleSettings,
    user=49999,
    processes={
        "api": Web(
            module="example:application",
            port=7777,
            host="example",
            databases=["example_api"],
            queues=[],
            options={"api.workers": 1},
        ),
        "conductor": Worker(
            command=["example-conductor"], probe=["example-probe"], databases=["example_cell1"], drain=30
        ),
    },
    databases=[
        Database(name="example_api", option="api_database.connection"),
        Database(name="example_cell1"),
    ],
    queues=[Queue(name="example")],
    keystone=KeystoneUse(kind="example", path="/v9", logins=["keystone_authtoken", "placement"]),
    migrations=[Migration(expand=["example-manage", "sync"], contract=["example-manage", "shrink"])],
    tasks={"fill": ["example-manage", "fill"]},
    needs=["keystone"],
    options=_options,
)

_ABOUT: Mapping[str, Any] = {"type": "string value", "multi": False, "choices": [], "min": None, "max": None}
_LOGIN = "auth_type auth_url cafile region_name username user_domain_name project_name project_domain_name"
_TOKENS = "www_authenticate_uri service_type http_connect_timeout service_token_roles_required"
_POOL = "max_pool_size max_overflow max_retries connection"
_NAMES = {
    "DEFAULT": "use_stderr use_json debug transport_url",
    "oslo_middleware": "enable_proxy_headers_parsing",
    "api_database": _POOL,
    "database": _POOL,
    "api": "workers",
    "notes": "region",
    "oslo_messaging_rabbit": "ssl ssl_ca_file rabbit_quorum_queue",
    "oslo_messaging_notifications": "driver",
    "keystone_authtoken": f"{_LOGIN} {_TOKENS} password",
    "placement": f"{_LOGIN} password",
}
KNOWN = OptionList(
    groups={
        group: {
            name: {**_ABOUT, "multi": name == "driver", "secret": name in ("password", "connection")}
            for name in names.split()
        }
        for group, names in _NAMES.items()
    },
    renamed={},
)


def _graph(service: Example = EXAMPLE, **rotations: int) -> Graph:
    env = _environment()
    env = env.model_copy(update={"rotations": {name.replace("_", "-"): at for name, at in rotations.items()}})

    def program() -> None:
        provider = kubernetes.Provider("cluster", kubeconfig="{}")
        hosts: Any = [Host(env)]
        database = Servers("database", DatabaseArgs(hosts=hosts, env=env))
        queue = Brokers("queue", QueueArgs(hosts=hosts, env=env))
        platform = Platform(
            "openstack",
            PlatformArgs(
                provider=provider,
                env=env,
                database=database,
                queue=queue,
                links=LinkProxies("link", LinkProxiesArgs(env=env, hosts=hosts, services=[])),
                nodes=hosts,
                authorities={"gateway": pulumi.Output.from_input("PEM")},
            ),
        )
        who = Administrator(url="https://x/v3", user="a", project="a", secret="s", key="k", ready=[platform])
        Service(
            "example",
            ServiceArgs(
                service=service,
                platform=platform,
                image="x/example@sha256:1",
                cache_image="x/memcached@sha256:1",
                known=KNOWN,
                administrator=who,
            ),
        )

    return record(program)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return _graph()


DEPLOYMENT = "kubernetes:apps/v1:Deployment"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"


def test_each_process_has_what_it_declares_and_nothing_else(graph: Graph) -> None:
    assert _urls(graph, "example") == {"mysql": {"example_api"}, "rabbit": set()}
    assert _urls(graph, "example-conductor") == {"mysql": {"example_cell1"}, "rabbit": {"example"}}
    api = graph.resources[f"{CONFIG_MAP} example"].inputs["data"]
    conductor = graph.resources[f"{CONFIG_MAP} example-conductor"].inputs["data"]
    assert "OS_API__WORKERS" in api
    assert "OS_API__WORKERS" not in conductor
    assert "OS_API_DATABASE__MAX_RETRIES" in api
    assert "OS_DATABASE__MAX_RETRIES" in conductor
    assert "OS_OSLO_MESSAGING_RABBIT__SSL" in conductor
    assert "OS_OSLO_MESSAGING_RABBIT__SSL" not in api
    assert "OS_OSLO_MIDDLEWARE__ENABLE_PROXY_HEADERS_PARSING" not in conductor


def test_each_database_has_an_account_that_sees_no_other(graph: Graph) -> None:
    accounts = [label for label in graph.resources if label.startswith("jarvis:stateful:Account ")]
    assert {label.split()[1] for label in accounts} == {"example-api-database", "example-cell1-database"}
    for own, other in (("api", "cell1"), ("cell1", "api")):
        before = graph.before(f"command:remote:Command example-{own}-grant")
        assert f"command:remote:Command example-{own}-schema" in before
        assert not [label for label in before if f"example-{other}" in label]


def test_it_logs_in_by_each_group_with_one_account(graph: Graph) -> None:
    data = graph.resources[f"{CONFIG_MAP} example-conductor"].inputs["data"]
    assert data["OS_PLACEMENT__USERNAME"] == data["OS_KEYSTONE_AUTHTOKEN__USERNAME"] == "example"
    secret = _secret(graph, "example-conductor")
    assert secret["OS_PLACEMENT__PASSWORD"] == secret["OS_KEYSTONE_AUTHTOKEN__PASSWORD"] != ""


def test_an_option_with_several_values_is_in_a_file_that_the_service_reads(graph: Graph) -> None:
    files = graph.resources[f"{CONFIG_MAP} example-files"].inputs["data"]
    assert files == {"jarvis.conf": "[oslo_messaging_notifications]\ndriver = messagingv2\ndriver = log\n"}
    [container] = graph.resources[f"{DEPLOYMENT} example"].inputs["spec"]["template"]["spec"]["containers"]
    folder = {"name": "example-files", "mountPath": "/etc/example/example.conf.d", "readOnly": True}
    assert folder in container["volumeMounts"]


def test_a_worker_is_probed_by_its_command_and_has_no_port(graph: Graph) -> None:
    spec = graph.resources[f"{DEPLOYMENT} example-conductor"].inputs["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["command"] == ["example-conductor"]
    assert container["livenessProbe"]["exec"]["command"] == ["example-probe"]
    assert "ports" not in container
    assert spec["terminationGracePeriodSeconds"] > 30
    assert "kubernetes:core/v1:Service example-conductor" not in graph.resources


def test_all_processes_start_after_the_schema_and_its_end_comes_after_all(graph: Graph) -> None:
    for name in ("example", "example-conductor"):
        before = graph.before(f"{DEPLOYMENT} {name}")
        assert "kubernetes:batch/v1:Job example-expand" in before
        assert "kubernetes:batch/v1:Job example-register" in before
    before = graph.before("kubernetes:batch/v1:Job example-contract")
    assert {f"{DEPLOYMENT} example", f"{DEPLOYMENT} example-conductor"} <= before


def test_an_option_of_one_process_rolls_no_other(graph: Graph) -> None:
    settings = ExampleSettings(conductor=ProcessSettings(options={"DEFAULT.debug": True}))
    assert differing(graph, _graph(replace(EXAMPLE, given=settings))) == {
        f"{CONFIG_MAP} example-conductor",
        f"{DEPLOYMENT} example-conductor",
    }


def test_an_option_of_the_service_rolls_all_its_processes(graph: Graph) -> None:
    settings = ExampleSettings(options={"DEFAULT.debug": True})
    changed = differing(graph, _graph(replace(EXAMPLE, given=settings)))
    assert {label for label in changed if label.startswith(DEPLOYMENT)} == {
        f"{DEPLOYMENT} example",
        f"{DEPLOYMENT} example-conductor",
    }


def test_a_value_of_a_list_rolls_the_pods(graph: Graph) -> None:
    def options(context: Context[ExampleSettings]) -> Options:
        return {**_options(context), "oslo_messaging_notifications.driver": ["log"]}

    changed = differing(graph, _graph(replace(EXAMPLE, options=options)))
    assert changed == {
        *(f"{CONFIG_MAP} {name}-files" for name in ("example", "example-conductor")),
        *(f"{DEPLOYMENT} {name}" for name in ("example", "example-conductor")),
    }


def test_a_rotated_password_of_a_database_rolls_the_processes_that_use_it(graph: Graph) -> None:
    changed = differing(graph, _graph(example_api_database=1))
    assert f"{DEPLOYMENT} example" in changed
    assert f"{DEPLOYMENT} example-conductor" not in changed


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ExampleSettings(conductor=ProcessSettings(options={"DEFAULT.debog": True})),
            "openstack.example.conductor.options.DEFAULT.debog: there is no such option",
        ),
        (
            ExampleSettings(conductor=ProcessSettings(options={"database.connection": "x"})),
            "openstack.example.conductor: database.connection is secret and set by Jarvis",
        ),
        (
            ExampleSettings(options={"oslo_messaging_notifications.driver": "log"}),
            "oslo_messaging_notifications.driver: it may be given more than once: give a list",
        ),
    ],
)
def test_a_mistake_names_the_process(settings: ExampleSettings, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_service(replace(EXAMPLE, given=settings), _environment(), KNOWN)
    assert told in str(caught.value)


@pytest.mark.parametrize("what", ["databases", "queues", "ceph"])
def test_a_process_uses_only_what_its_service_has(what: str) -> None:
    uses: dict[str, Any] = {what: ["other"]}
    process = Web[ExampleSettings](module="x", port=1, **uses)
    with pytest.raises(ValueError, match="its process api uses other"):
        replace(EXAMPLE, processes={"api": process})


@pytest.mark.parametrize("name", ["conductor", "metadata"])
def test_a_process_that_serves_http_has_settings_to_be_scaled_by(name: str) -> None:
    process = Web[ExampleSettings](module="x", port=1)
    with pytest.raises(ValueError, match=f"settings of its process {name} are no ServiceSettings"):
        replace(EXAMPLE, processes={**EXAMPLE.processes, name: process})


def test_a_unit_of_a_server_reads_what_a_pod_does() -> None:
    options: Options = {"DEFAULT.debug": True, "a.b": 'x"$y\\z`', "a.c": ["1", "2$"], "d.e": ["3"]}
    found = configuration.rendered(options)
    assert found.files == {"jarvis.conf": "[a]\nc = 1\nc = 2$$\n\n[d]\ne = 3\n"}
    assert configuration.environment_file(found.variables) == (
        'OS_A__B="x\\"\\$\\$y\\\\z\\`"\nOS_DEFAULT__DEBUG="true"\n'
    )


def test_no_environment_needs_more_than_its_services(tmp_path: Path) -> None:
    env = environment_of("dev", tmp_path)
    shared = ("region", "namespace", "services", "objects")
    assert {name for name, _ in env.openstack if name not in shared} == {one.name for one in CATALOGUE}


def test_the_documents_have_every_service() -> None:
    """Written anew by `make golden`."""
    file = PROJECT / "docs/architecture.md"
    begin, end = "<!-- services -->\n", "<!-- end of services -->\n"
    before, _, rest = file.read_text().partition(begin)
    found, _, after = rest.partition(end)
    if os.environ.get("JARVIS_GOLDEN") == "write":
        found = service_table()
        file.write_text(f"{before}{begin}{found}{end}{after}")
    assert found == service_table(), "the table of services has changed: make golden"
    operating = (PROJECT / "docs/operating.md").read_text()
    assert [one.name for one in CATALOGUE if f"`openstack.{one.name}`" not in operating] == []
