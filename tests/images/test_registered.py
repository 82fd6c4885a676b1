"""What is registered in a real Keystone, changed behind our back: it is named, and running again mends it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jarvis.config.openssh import said
from jarvis.drift.keystone import COMMAND, program
from jarvis.drift.registered import (
    Account,
    Entry,
    Registered,
    judge,
    question,
    read_answers,
    read_brief,
    refused,
)
from jarvis.openstack.build.pods import uwsgi_command
from jarvis.openstack.build.tasks import register as script
from tests.images.test_built import PATIENCE_SECONDS, Unpacked, ask, free_ports, migrated_keystone, unpack

BOOTSTRAP, OWN, GLANCE = "keystone-bootstrap", "keystone-register", "glance-register"
PASSWORD, GLANCES = "the-administrators-password", "glances-password"
IMAGE = "https://image.example.org"
REGION = "one"
LIMITS = {"image_count_total": 10, "image_size_total": 100}


@dataclass(frozen=True)
class Cloud:
    """A Keystone at ``url``, and what is registered in it."""

    image: Unpacked
    environment: dict[str, str]
    url: str
    registered: Registered

    def bootstrap(self) -> None:
        """As the Job ``keystone-bootstrap`` does it."""
        urls = {f"OS_BOOTSTRAP_{kind}_URL": self.url for kind in ("PUBLIC", "INTERNAL", "ADMIN")}
        self.image.run(
            "keystone-manage",
            "bootstrap",
            **self.environment,
            **urls,
            OS_BOOTSTRAP_PASSWORD=PASSWORD,
            OS_BOOTSTRAP_REGION_ID=REGION,
        )

    def register(self, job: str) -> None:
        """As the other Jobs do it."""
        [entry] = [one for one in self.registered.entries if one.resource == job]
        environment = {
            "OS_USERNAME": "admin",
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": "admin",
            "REGISTER_NAME": entry.name,
            "REGISTER_TYPE": entry.kind,
            "REGISTER_URL": entry.url,
            "REGISTER_REGION": REGION,
            "REGISTER_PROJECT": entry.project,
            "REGISTER_LIMITS": json.dumps(entry.limits),
        }
        if entry.account:
            environment |= {
                "REGISTER_ACCOUNT": entry.account.user,
                "REGISTER_PASSWORD": entry.account.password,
                "REGISTER_ROLE": entry.account.role,
            }
        keystone = script.Keystone(self.url, None)
        keystone.token = script.login(keystone, environment)
        script.register(keystone, environment)

    def answer(self, *, brief: bool = False) -> dict[str, Any]:
        """What the question on a server prints."""
        text = f"{json.dumps(question(self.registered, 30, brief=brief))}\n{program()}".encode()
        told = asyncio.run(said(["bash", "-c", COMMAND], text))
        assert isinstance(told, tuple), told
        return dict(json.loads(told[0]))

    def well(self) -> bool:
        """Whether a brief question finds nothing."""
        answer = self.answer(brief=True)
        assert "error" not in answer, answer
        return answer["admin"] == "project" and not any(judge(self.registered, read_brief(answer)).values())

    def found(self) -> dict[str, list[str]]:
        """The findings of each Job that has some."""
        answer = self.answer()
        assert "error" not in answer, answer
        if answer["admin"] == "refused":
            judged = refused(self.registered)
        else:
            judged = judge(self.registered, read_answers(answer))
        assert list(judged) == [BOOTSTRAP, OWN, GLANCE]
        return {job: sentences for job, sentences in judged.items() if sentences}


class Admin:
    """Somebody with the administrator's rights."""

    def __init__(self, url: str) -> None:
        self._keystone = script.Keystone(url, None)
        self._keystone.token = self._keystone.authenticate("admin", PASSWORD, "admin")

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._keystone.call(method, path, body)[0]

    def the(self, kind: str, **query: str) -> dict[str, Any]:
        """The one item of ``kind`` that the ``query`` names."""
        [one] = self._keystone.find(kind, **query)
        return dict(one)

    def change(self, kind: str, item: dict[str, Any], **fields: Any) -> None:
        self.call("PATCH", f"/{kind}/{item['id']}", {kind.removesuffix("s"): fields})

    def remove(self, kind: str, item: dict[str, Any]) -> None:
        if item.get("options", {}).get("immutable"):
            self.call("PATCH", f"/{kind}/{item['id']}", {kind[:-1]: {"options": {"immutable": False}}})
        self.call("DELETE", f"/{kind}/{item['id']}")

    def endpoint(self, name: str, interface: str) -> dict[str, Any]:
        service = self.the("services", name=name)
        return self.the("endpoints", service_id=service["id"], interface=interface, region_id=REGION)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("keystone")
    root.chmod(0o755)
    image = unpack("keystone", root)
    environment = migrated_keystone(image)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/v3"
    registered = Registered(
        url=url,
        authority="",
        region=REGION,
        resource=BOOTSTRAP,
        admin=Account(user="admin", password=PASSWORD, project="admin", role="admin"),
        entries=[
            Entry(resource=OWN, name="keystone", kind="identity", url=url, project="admin"),
            Entry(
                resource=GLANCE,
                name="glance",
                kind="image",
                url=IMAGE,
                project="service",
                account=Account(user="glance", password=GLANCES, project="service", role="service"),
                limits=LIMITS,
            ),
        ],
    )
    cloud = Cloud(image, environment, url, registered)
    cloud.bootstrap()
    words = uwsgi_command(module="keystone.wsgi.api:application", port=port, processes=3)
    local = [word.replace("--http-socket=", "--http-socket=127.0.0.1") for word in words]
    # Without a shared cache each process would go on with what it remembers.
    command, variables = image.words(*local, **environment, OS_CACHE__ENABLED="false")
    server = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert ask(server, url, {})[0] == 200
        cloud.register(GLANCE)
        yield cloud
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def admin(cloud: Cloud) -> Admin:
    return Admin(cloud.url)


def own_services(admin: Admin) -> None:
    """What operators add: a second service of the same type, in a region of its own and in ours."""
    admin.call("POST", "/regions", {"region": {"id": "two"}})
    service = admin.call("POST", "/services", {"service": {"name": "other", "type": "image"}})["service"]
    for region, one in (("one", service), ("two", service), ("two", admin.the("services", name="glance"))):
        body = {"url": "https://x", "interface": "public", "service_id": one["id"], "region_id": region}
        admin.call("POST", "/endpoints", {"endpoint": body})
    user = admin.call("POST", "/users", {"user": {"name": "somebody", "domain_id": "default"}})["user"]
    role = admin.call("POST", "/roles", {"role": {"name": "auditor"}})["role"]
    project = admin.the("projects", name="service")
    admin.call("PUT", f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}")
    glance = admin.the("users", name="glance")
    admin.call("PUT", f"/projects/{project['id']}/users/{glance['id']}/roles/{role['id']}")
    limit = {
        "resource_name": "image_stage_total",
        "default_limit": 1,
        "service_id": admin.the("services", name="glance")["id"],
        "region_id": REGION,
    }
    admin.call("POST", "/registered_limits", {"registered_limits": [limit]})


def test_an_untouched_cloud_has_no_drift_nor_has_what_operators_add(cloud: Cloud, admin: Admin) -> None:
    assert cloud.found() == {}
    own_services(admin)
    assert cloud.found() == {}
    cloud.image.run("keystone-manage", "fernet_rotate", **cloud.environment)
    assert cloud.well()
    assert cloud.found() == {}


def drop_role(admin: Admin, path: str, user: str, role: str) -> None:
    user, role = admin.the("users", name=user)["id"], admin.the("roles", name=role)["id"]
    admin.call("DELETE", f"{path}/users/{user}/roles/{role}")


def glance_limit(admin: Admin, name: str) -> dict[str, Any]:
    return admin.the("registered_limits", resource_name=name)


def no_service(admin: Admin) -> None:
    """Whoever removes the service removes its endpoints; its limits hold it until they are gone."""
    for name in (*LIMITS, "image_stage_total"):
        for one in admin.call("GET", f"/registered_limits?resource_name={name}")["registered_limits"]:
            admin.call("DELETE", f"/registered_limits/{one['id']}")
    admin.remove("services", admin.the("services", name="glance"))


Change = Callable[[Admin], None]
ASSIGNED = "role service of user glance on project service: missing"
# What is done, and what is found: by Job. Of each kind one, and in one round as much as goes together.
CHANGES: list[tuple[list[Change], dict[str, list[str]]]] = [
    (
        [
            lambda a: a.change("endpoints", a.endpoint("keystone", "public"), url="http://elsewhere"),
            lambda a: a.change("endpoints", a.endpoint("keystone", "admin"), enabled=False),
            lambda a: a.change("endpoints", a.endpoint("glance", "internal"), url="https://y", enabled=False),
            lambda a: a.remove("endpoints", a.endpoint("glance", "public")),
            lambda a: a.change("services", a.the("services", type="identity"), name="other", enabled=False),
            lambda a: a.change("services", a.the("services", name="glance"), type="picture", enabled=False),
            lambda a: a.change("registered_limits", glance_limit(a, "image_size_total"), default_limit=5),
            lambda a: a.remove("registered_limits", glance_limit(a, "image_count_total")),
            lambda a: a.change("users", a.the("users", name="glance"), enabled=False),
            lambda a: a.change("projects", a.the("projects", name="service"), enabled=False),
            # The last: its token ends with it.
            lambda a: a.change("projects", a.the("projects", name="admin"), enabled=False),
        ],
        {
            OWN: [
                "project admin: disabled",
                "service keystone: name is other, not keystone",
                "service keystone: disabled",
                "endpoint public of keystone: url is http://elsewhere, not URL",
                "endpoint admin of keystone: disabled",
            ],
            GLANCE: [
                "project service: disabled",
                "user glance: disabled",
                "service glance: type is picture, not image",
                "service glance: disabled",
                "endpoint public of glance: missing",
                f"endpoint internal of glance: url is https://y, not {IMAGE}",
                "endpoint internal of glance: disabled",
                "limit image_count_total of glance: missing",
                "limit image_size_total of glance: 5, not 100",
            ],
        },
    ),
    (
        [
            lambda a: drop_role(a, "/system", "admin", "admin"),
            lambda a: a.remove("roles", a.the("roles", name="service")),
            no_service,
        ],
        {
            BOOTSTRAP: ["role service: missing", "role admin of user admin on the system: missing"],
            GLANCE: [ASSIGNED, "service glance: missing"],
        },
    ),
    (
        [
            lambda a: a.change("users", a.the("users", name="glance"), password="another-password"),
            lambda a: drop_role(a, f"/projects/{a.the('projects', name='admin')['id']}", "admin", "admin"),
        ],
        {
            BOOTSTRAP: ["role admin of user admin on project admin: missing"],
            GLANCE: ["user glance: another password"],
        },
    ),
    (
        [lambda a: a.change("users", a.the("users", name="admin"), password="another-password")],
        {BOOTSTRAP: ["user admin: not let in: disabled, removed, with another password, or without a role"]},
    ),
    ([lambda a: a.remove("users", a.the("users", name="glance"))], {GLANCE: ["user glance: missing"]}),
    (
        [lambda a: drop_role(a, f"/projects/{a.the('projects', name='service')['id']}", "glance", "service")],
        {GLANCE: [ASSIGNED]},
    ),
    (
        [lambda a: a.remove("projects", a.the("projects", name="service"))],
        {GLANCE: ["project service: missing"]},
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CHANGES, ids=[str(at) for at in range(len(CHANGES))])
def test_each_kind_is_named_and_mended(
    cloud: Cloud, admin: Admin, changes: list[Change], expected: dict[str, list[str]]
) -> None:
    for change in changes:
        change(admin)
    expected = {
        job: [sentence.replace("URL", cloud.url) for sentence in sentences]
        for job, sentences in expected.items()
    }
    assert not cloud.well()
    assert cloud.found() == expected
    # As `up` runs them: the others wait for the first.
    if BOOTSTRAP in expected:
        cloud.bootstrap()
    for job in expected:
        if job != BOOTSTRAP:
            cloud.register(job)
    assert cloud.well()


def test_asking_changes_nothing(cloud: Cloud) -> None:
    folder = Path(cloud.image.root, "volume/data")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert cloud.well()
    assert cloud.found() == {}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
