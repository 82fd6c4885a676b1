"""What is in Keystone against what was registered there: asked through a server, judged, shown on its Job."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from jarvis.config import Environment
from jarvis.config.openssh import said
from jarvis.core.objects import SEEN
from jarvis.drift import KEYSTONE, Drift, Kept, Seen, Watch, keystone_source, read_registered
from jarvis.drift import registered as subject
from jarvis.drift.ask import Looked
from jarvis.drift.keystone import COMMAND, askers, look, program
from jarvis.drift.registered import (
    Registered,
    UnreadableError,
    judge,
    question,
    read_answers,
    read_brief,
    refused,
)
from jarvis.drift.source import Source, look_at
from jarvis.openstack.services.glance import GLANCE
from stacks.cloud import build
from tests.golden.test_golden import artifacts, environment_of
from tests.unit.harness import Graph, record
from tests.unit.test_drift import WELL, went
from tests.unit.test_hosts_clock import environment

HERE = Path(__file__).parent
# What `ask_keystone.py` printed of the Keystone of tests/images, with a service of an operator's own in it.
RECORDED = json.loads((HERE / "registered.json").read_text())
ANSWER, BRIEF = RECORDED["full"], RECORDED["brief"]
RECORD = {
    "url": "http://127.0.0.1:5000/v3",
    "authority": "",
    "region": "one",
    "resource": "keystone-bootstrap",
    "admin": {"user": "admin", "password": "s3cret-admin", "project": "admin", "role": "admin"},
    "entries": [
        {
            "resource": "keystone-register",
            "name": "keystone",
            "kind": "identity",
            "url": "http://127.0.0.1:5000/v3",
            "project": "admin",
            "limits": {},
        },
        {
            "resource": "glance-register",
            "name": "glance",
            "kind": "image",
            "url": "https://image.example.org",
            "project": "service",
            "limits": {"image_count_total": 10.0, "image_size_total": 100.0},
            "account": {
                "user": "glance",
                "password": "s3cret-glance",
                "project": "service",
                "role": "service",
            },
        },
    ],
}
JOBS = ["keystone-bootstrap", "keystone-register", "glance-register"]
NOTHING: dict[str, list[str]] = {job: [] for job in JOBS}


def registered(url: str = str(RECORD["url"])) -> Registered:
    found = read_registered({"registered": {**RECORD, "url": url}})
    assert found is not None
    return found


def test_what_an_earlier_jarvis_recorded_is_not_looked_at() -> None:
    assert read_registered({}) is None
    assert asyncio.run(look(went(environment(1)), None)) == Looked()


def test_passwords_are_in_no_text_of_what_is_registered() -> None:
    assert "s3cret" not in repr(registered())
    asked = json.dumps(question(registered(), 10))
    assert asked.count("s3cret-admin") == 1
    assert asked.count("s3cret-glance") == 1


def test_what_was_registered_and_what_operators_add_is_no_drift() -> None:
    assert judge(registered(), read_answers(ANSWER)) == NOTHING
    assert any(one["name"] == "other" for one in ANSWER["answers"]["/services"]["services"])


Answers = dict[str, Any]
Change = Callable[[Answers], object]


def item(answer: Answers, path: str, **fields: str) -> dict[str, Any]:
    """The first item at ``path`` with these ``fields``."""
    [items] = [value for key, value in answer["answers"][path].items() if isinstance(value, list)]
    return next(one for one in items if fields.items() <= one.items())


def service(answer: Answers, name: str) -> dict[str, Any]:
    return item(answer, "/services", name=name)


def endpoint(answer: Answers, name: str, interface: str) -> dict[str, Any]:
    where = {"service_id": service(answer, name)["id"], "interface": interface}
    return item(answer, "/endpoints?region_id=one", **where)


def drop(answer: Answers, path: str, one: dict[str, Any]) -> None:
    kind = path.strip("/").partition("?")[0]
    answer["answers"][path][kind].remove(one)


USER = "/users?name=glance&domain_id=default"
LIMITS = "/registered_limits?region_id=one"
# What is done to the answers, and what is said: of which Job.
CASES: dict[str, tuple[str, Change]] = {
    "region one: missing": (JOBS[0], lambda a: drop(a, "/regions", item(a, "/regions", id="one"))),
    "role manager: missing": (JOBS[0], lambda a: drop(a, "/roles", item(a, "/roles", name="manager"))),
    "role admin of user admin on the system: missing": (
        JOBS[0],
        lambda a: a["assignments"].update(
            admin=[one for one in a["assignments"]["admin"] if "system" not in one["scope"]]
        ),
    ),
    "endpoint public of keystone: url is http://x, not http://127.0.0.1:5000/v3": (
        JOBS[1],
        lambda a: endpoint(a, "keystone", "public").update(url="http://x"),
    ),
    "project admin: disabled": (
        JOBS[1],
        lambda a: item(a, "/projects?name=admin&domain_id=default").update(enabled=False),
    ),
    "endpoint admin of glance: disabled": (
        JOBS[2],
        lambda a: endpoint(a, "glance", "admin").update(enabled=False),
    ),
    "endpoint admin of glance: missing": (
        JOBS[2],
        lambda a: drop(a, "/endpoints?region_id=one", endpoint(a, "glance", "admin")),
    ),
    "service glance: name is x, not glance": (JOBS[2], lambda a: service(a, "glance").update(name="x")),
    "service glance: type is x, not image": (JOBS[2], lambda a: service(a, "glance").update(type="x")),
    "service glance: disabled": (JOBS[2], lambda a: service(a, "glance").update(enabled=False)),
    "service glance: missing": (JOBS[2], lambda a: drop(a, "/services", service(a, "glance"))),
    "user glance: missing": (JOBS[2], lambda a: drop(a, USER, item(a, USER))),
    "user glance: disabled": (JOBS[2], lambda a: item(a, USER).update(enabled=False)),
    "user glance: another password": (JOBS[2], lambda a: a["tokens"].pop("glance")),
    "role service of user glance on project service: missing": (
        JOBS[2],
        lambda a: (a["assignments"].update(glance=[]), a["tokens"].pop("glance")),
    ),
    "limit image_size_total of glance: 5, not 100": (
        JOBS[2],
        lambda a: item(a, LIMITS, resource_name="image_size_total").update(default_limit=5),
    ),
    "limit image_size_total of glance: missing": (
        JOBS[2],
        lambda a: drop(a, LIMITS, item(a, LIMITS, resource_name="image_size_total")),
    ),
}


@pytest.mark.parametrize("sentence", CASES)
def test_each_kind_is_a_sentence_of_the_job_that_makes_it(sentence: str) -> None:
    job, change = CASES[sentence]
    answer = copy.deepcopy(ANSWER)
    change(answer)
    assert judge(registered(), read_answers(answer)) == {**NOTHING, job: [sentence]}


def test_a_brief_answer_finds_that_something_is_wrong_and_nothing_where_all_is_well() -> None:
    def wrong(change: Change) -> bool:
        answer = copy.deepcopy(BRIEF)
        change(answer)
        return any(judge(registered(), read_brief(answer)).values())

    def catalogue(answer: Answers) -> list[dict[str, Any]]:
        for token in answer["tokens"].values():
            token["catalog"] = answer["tokens"]["admin"]["catalog"]
        return list(answer["tokens"]["admin"]["catalog"])

    def in_catalogue(name: str, change: Change) -> Change:
        return lambda a: change(next(one for one in catalogue(a) if one["name"] == name))

    def here(one: dict[str, Any]) -> dict[str, Any]:
        return next(each for each in one["endpoints"] if each["region_id"] == "one")

    assert not wrong(lambda _: None)
    assert not wrong(catalogue)
    assert wrong(lambda a: a["tokens"].pop("glance"))
    assert wrong(lambda a: a["tokens"]["glance"].update(roles=[]))
    assert wrong(lambda a: a["assignments"].update(admin=[]))
    for name in ("keystone", "glance"):
        for change in (
            lambda one: one.update(name="x"),
            lambda one: one.update(endpoints=[]),
            lambda one: one["endpoints"].remove(here(one)),
            lambda one: here(one).update(url="http://x"),
        ):
            assert wrong(in_catalogue(name, change))
    assert wrong(lambda a: item(a, LIMITS, resource_name="image_size_total").update(default_limit=5))
    with pytest.raises(UnreadableError, match="an answer without 'catalog'"):
        read_brief({**BRIEF, "tokens": {"admin": {"user": {"name": "admin"}, "roles": []}}})


def test_an_endpoint_beside_ours_is_an_operators() -> None:
    answer = copy.deepcopy(ANSWER)
    ours = endpoint(answer, "glance", "public")
    answer["answers"]["/endpoints?region_id=one"]["endpoints"].insert(
        0, {**ours, "id": "x", "url": "https://y"}
    )
    assert judge(registered(), read_answers(answer)) == NOTHING


def test_an_answer_that_is_cut_off_or_none_tells_nothing() -> None:
    answer = copy.deepcopy(ANSWER)
    answer["answers"]["/services"]["truncated"] = True
    with pytest.raises(UnreadableError, match="its answer to /services is cut off, by list_limit"):
        read_answers(answer)
    others: list[dict[str, Any]] = [{}, {"answers": {"/services": {}}}, {"answers": 1}]
    for wrong in others:
        with pytest.raises(UnreadableError):
            read_answers(wrong)
    answer = copy.deepcopy(ANSWER)
    del service(answer, "glance")["enabled"]
    with pytest.raises(UnreadableError, match="an answer without 'enabled'"):
        judge(registered(), read_answers(answer))


class Keystone(BaseHTTPRequestHandler):
    """Answers as the recorded one, to those who log in."""

    calls: list[tuple[str, str]]
    passwords: dict[str, str]
    status: int
    # How many more of the tokens that it gives are refused.
    revoked: int

    def _say(self, status: int, body: Any, **headers: str) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls.append(("POST", self.path))
        user = body["auth"]["identity"]["password"]["user"]
        right = self.passwords.get(user["name"]) == user["password"]
        status = self.status or (201 if right else 401)
        body = {"token": ANSWER["tokens"][user["name"]]} if right else {"error": {}}
        self._say(status, body, X_Subject_Token=f"token-of-{user['name']}")

    def do_GET(self) -> None:
        self.calls.append(("GET", self.path))
        path = self.path.removeprefix("/v3")
        assert self.headers["X-Auth-Token"] == "token-of-admin"
        if type(self).revoked > 0:
            type(self).revoked -= 1
            self._say(401, {"error": {}})
            return
        if path.startswith("/role_assignments"):
            wanted = dict(parse_qsl(urlsplit(path).query))["user.id"]
            found = [
                one for each in ANSWER["assignments"].values() for one in each if one["user"]["id"] == wanted
            ]
            self._say(200, {"role_assignments": found})
        else:
            self._say(200, ANSWER["answers"][path])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served() -> Iterator[tuple[type[Keystone], str]]:
    passwords = {"admin": "s3cret-admin", "glance": "s3cret-glance"}

    class Own(Keystone):
        calls: list[tuple[str, str]] = []
        status = 0
        revoked = 0

    Own.passwords = passwords
    with ThreadingHTTPServer(("127.0.0.1", 0), Own) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Own, f"http://127.0.0.1:{server.server_port}/v3"
        finally:
            server.shutdown()
            thread.join()


def asked(url: str, *, brief: bool = False) -> dict[str, Any]:
    text = f"{json.dumps(question(registered(url), 10, brief=brief))}\n{program()}".encode()
    told = asyncio.run(said(["bash", "-c", COMMAND], text))
    assert isinstance(told, tuple), told
    return dict(json.loads(told[0]))


def test_asking_logs_in_and_reads_and_nothing_else(served: tuple[type[Keystone], str]) -> None:
    own, url = served
    assert asked(url) == ANSWER
    calls = len(own.calls)
    assert {**asked(url, brief=True), "tokens": BRIEF["tokens"]} == BRIEF
    # An untouched cloud is asked no more than this.
    assert len(own.calls) - calls == 4
    assert {path for method, path in own.calls if method != "GET"} == {"/v3/auth/tokens"}
    assert "s3cret" not in COMMAND + program()


def test_a_token_that_a_revocation_of_before_took_along_is_asked_for_again(
    served: tuple[type[Keystone], str],
) -> None:
    own, url = served
    own.revoked = 1
    assert asked(url) == ANSWER
    # Not for ever.
    own.revoked = 1000
    assert asked(url).keys() == {"error"}
    assert "401" in asked(url)["error"]


def test_who_is_not_let_in_is_told(served: tuple[type[Keystone], str]) -> None:
    own, url = served
    own.passwords["glance"] = "x"
    assert asked(url)["tokens"].keys() == {"admin"}
    own.passwords["admin"] = "x"
    assert asked(url) == {"admin": "refused", "tokens": {}}


def test_a_keystone_that_does_not_answer_is_an_error_in_words(served: tuple[type[Keystone], str]) -> None:
    own, url = served
    own.status = 503
    assert asked(url) == {"error": "/v3/auth/tokens: 503 Service Unavailable"}
    assert "Connection refused" in asked("http://127.0.0.1:1/v3")["error"]


# Runs on this machine what a server would be told to; one without an answer says why.
SSH = """#!/bin/bash
here=$(dirname "$0")
for word in "$@"; do
  case $word in HostKeyAlias=*) server=${word#*=} ;; esac
done
printf '%s %s\\n' "$server" "$*" >>"$here/calls"
[ ! -e "$here/$server" ] || { cat "$here/$server"; exit 0; }
[ "$server" != s1 ] || { echo "ssh: connect to host s1 port 22: No route to host" >&2; exit 255; }
exec bash -c "${@: -1}"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def of_servers(count: int) -> Environment:
    """An environment whose servers all have the database, deployed."""
    env = environment(count)
    servers = [one.model_copy(update={"roles": env.servers[0].roles}) for one in env.servers]
    return went(env.model_copy(update={"servers": servers}))


def test_it_is_asked_through_the_first_server_with_a_database_that_answers(
    ssh: Path, served: tuple[type[Keystone], str]
) -> None:
    assert [one.name for one in askers(went(environment(3)))] == ["s1"]
    assert asyncio.run(look(of_servers(3), registered(served[1]))) == Looked(found={KEYSTONE: NOTHING})
    calls = (ssh / "calls").read_text()
    assert [line.partition(" ")[0] for line in calls.splitlines() if "HostKeyAlias" in line] == ["s1", "s2"]
    # Secrets go by standard input.
    assert "s3cret" not in calls


def test_what_is_wrong_is_asked_in_full(ssh: Path, served: tuple[type[Keystone], str]) -> None:
    own, url = served
    own.passwords["glance"] = "x"
    found = asyncio.run(look(of_servers(2), registered(url))).found[KEYSTONE]
    assert found == {**NOTHING, "glance-register": ["user glance: another password"]}


def test_where_it_cannot_be_told_it_is_said_why(ssh: Path, served: tuple[type[Keystone], str]) -> None:
    def silent(count: int, url: str = served[1]) -> str:
        return asyncio.run(look(of_servers(count), registered(url))).silent[KEYSTONE]

    assert silent(1) == "s1: ssh: connect to host s1 port 22: No route to host"
    assert silent(2, "http://127.0.0.1:1/v3").startswith("s2: URLError: ")
    (ssh / "s1").write_text("s3cret no JSON")
    assert silent(1) == "s1 said something else than an answer"
    (ssh / "s1").write_text('{"answers": {}}')
    assert silent(1) == "an answer without 'assignments'"
    # Not both: the administrator is a finding, and the rest could not be looked at.
    (ssh / "s1").write_text('{"admin": "refused", "tokens": {}}')
    looked = asyncio.run(look(of_servers(1), registered()))
    assert looked.found == {KEYSTONE: refused(registered())}
    assert looked.found[KEYSTONE].keys() == set(JOBS)
    assert looked.silent == {KEYSTONE: "its administrator is not let in"}


def test_its_silence_is_told_and_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    kept = {KEYSTONE: {"glance-register": Seen(count=1, sentences=("a",))}}

    async def run(watch: Watch) -> Kept:
        async def servers(*_: object) -> Looked:
            return Looked(found={"s1": {"base": []}})

        async def silent() -> Looked:
            return Looked(silent={KEYSTONE: "s1: 503"})

        sources = [Source(name=KEYSTONE, look=silent)]
        drift = Drift(went(environment(1)), watch, kept, servers, sources)
        try:
            return await drift.known()
        finally:
            await drift.end()

    # What was mended before stays as it is.
    assert asyncio.run(run(Watch.TRUE)) == kept
    assert warnings == ["Keystone: what Jarvis made there was not looked at: s1: 503"]
    warnings.clear()
    assert asyncio.run(run(Watch.FALSE)) == kept
    assert warnings == []
    assert asyncio.run(look_at([])) == Looked()


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return went(environment_of("dev", tmp_path_factory.mktemp("project")))


def graph_of(env: Environment, found: dict[str, list[str]], kept: Kept = {}) -> Graph:  # noqa: B006
    async def servers(*_: object) -> Looked:
        return Looked(found=WELL)

    async def there() -> Looked:
        return Looked(found={KEYSTONE: {**NOTHING, **found}})

    def program() -> Coroutine[Any, Any, Any]:
        return build(
            env, artifacts(), Drift(env, Watch.TRUE, kept, servers, [Source(name=KEYSTONE, look=there)])
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        return record(program, "dev")


JOB = "kubernetes:batch/v1:Job"


def changed(before: Graph, after: Graph) -> dict[str, str]:
    """The Jobs that differ by what they have seen; nothing else may differ but what is new."""
    found = {}
    for label, one in before.resources.items():
        inputs = copy.deepcopy(dict(after.resources[label].inputs))
        if label.startswith(JOB):
            annotations = inputs["spec"]["template"]["metadata"].get("annotations", {})
            seen = annotations.pop(SEEN, None)
            if seen is not None:
                found[label.removeprefix(f"{JOB} ")] = seen
        assert inputs == one.inputs, label
    return found


def test_a_finding_runs_the_job_again_that_makes_it_and_nothing_else(env: Environment) -> None:
    untouched = graph_of(env, {})
    one, two = "user glance: disabled", "limit image_size_total of glance: missing"
    refusal = "user admin: not let in"
    then = graph_of(env, {"glance-register": [one, two], "keystone-bootstrap": [refusal]})
    assert then.resources.keys() == untouched.resources.keys()
    assert changed(untouched, then) == {
        "glance-register": f"1: {one}\n1: {two}",
        "keystone-bootstrap": f"1: {refusal}",
    }
    # Mended, and then again.
    kept = {KEYSTONE: {"glance-register": Seen(count=1, sentences=(one, two))}}
    assert changed(untouched, graph_of(env, {}, kept)) == {"glance-register": f"1: {one}\n1: {two}"}
    assert changed(untouched, graph_of(env, {"glance-register": [two]}, kept)) == {
        "glance-register": f"2: {two}"
    }


def test_keystones_own_entry_is_mended_by_a_job_that_is_there_from_then_on(env: Environment) -> None:
    untouched = graph_of(env, {})
    sentence = "endpoint public of keystone: disabled"
    then = graph_of(env, {"keystone-register": [sentence]})
    assert changed(untouched, then) == {}
    assert then.resources.keys() - untouched.resources.keys() == {
        f"{JOB} keystone-register",
        "kubernetes:core/v1:ConfigMap keystone-register",
        "jarvis:openstack:Mended keystone-register",
    }
    job = then.resources[f"{JOB} keystone-register"].inputs
    assert job["spec"]["template"]["metadata"]["annotations"][SEEN] == f"1: {sentence}"
    assert {f"{JOB} keystone-bootstrap", "kubernetes:apps/v1:Deployment keystone"} <= then.before(
        f"{JOB} keystone-register"
    )
    assert {label for label in then.resources if f"{JOB} keystone-register" in then.before(label)} == set()
    kept = {KEYSTONE: {"keystone-register": Seen(count=1, sentences=(sentence,))}}
    assert graph_of(env, {}, kept).resources.keys() == then.resources.keys()


def test_what_a_run_registers_is_recorded_for_the_next_with_its_passwords_secret(env: Environment) -> None:
    kept: dict[str, Any] = {}

    async def run() -> None:
        cloud = await build(env, artifacts())
        kept["secret"] = await cloud.registered.is_secret()
        kept["registered"] = await cloud.registered.future()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JARVIS_TODAY", "2026-11-23")
        record(run, "dev")
    assert kept["secret"]
    found = read_registered(json.loads(json.dumps(kept), parse_int=float))
    assert found is not None
    assert found.resources == JOBS
    assert found.authority.startswith("certificate gateway")
    assert [entry.kind for entry in found.entries] == ["identity", "image"]
    assert found.admin.password == "passwordkeystoneadminr0"
    [account] = found.accounts
    assert (account.user, account.password) == ("glance", "passwordglanceregisterr0")
    assert found.entries[1].limits == dict(GLANCE.settings_in(env).quotas.model_dump())
    assert keystone_source(env, found).name == KEYSTONE
    assert subject.ROLES[-1] == account.role
