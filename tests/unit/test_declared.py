"""Objects of OpenStack that an environment declares: what may be said, what is done, and the graph of it."""

from __future__ import annotations

import ast
import asyncio
import base64
import builtins
import hashlib
import io
import json
import re
import shlex
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from jarvis.config import ConfigurationError, Environment
from jarvis.config.before import to_record
from jarvis.config.safety import Safety
from jarvis.core import safety
from jarvis.drift import DeclaredObjects as Looked
from jarvis.drift import Drift, Kept, Seen, Watch, read_declared, read_registered
from jarvis.drift import declared as subject
from jarvis.drift.__main__ import read_stack
from jarvis.drift.ask import Looked as Answered
from jarvis.drift.declared import NAME, Former, judge, question
from jarvis.openstack.build.declared import FOLDER, PROGRAM
from jarvis.openstack.declared import program
from jarvis.openstack.declared.catalogue import KINDS, declared, kind_of
from jarvis.openstack.declared.content import Contents
from jarvis.openstack.declared.model import Declaration, Wanted, program_text
from jarvis.openstack.declared.program import Cloud, Items, Refusal, compare, put, remove
from tests.unit.fake_openstack import Keystone
from tests.unit.harness import Graph
from tests.unit.runs import graph_of
from tests.unit.test_drift import WELL, went
from tests.unit.test_hosts_clock import environment
from tests.unit.test_registered import RECORD
from tests.unit.test_start import Stack, recorded

DISK = b"\0" * 600
SHA256 = hashlib.sha256(DISK).hexdigest()
IMAGE = {"name": "debian", "file": "disk.raw", "sha256": SHA256, "format": "raw"}
OBJECTS: dict[str, Any] = {
    "projects": [{"name": "research", "description": "All"}, {"name": "shop", "domain": "Sales"}],
    "groups": [{"name": "researchers"}],
    "role_assignments": [
        {"role": "member", "group": "researchers", "project": "research"},
        {"role": "admin", "user": "alice", "user_domain": "Sales", "domain": "Sales"},
        {"role": "reader", "group": "researchers", "system": True},
    ],
    "images": [IMAGE, {**IMAGE, "name": "own", "project": "research", "visibility": "private"}],
}
KEYS = [
    "project/research",
    "project/Sales/shop",
    "group/researchers",
    "role-assignment/member/group/researchers/project/research",
    "role-assignment/admin/user/Sales/alice/domain/Sales",
    "role-assignment/reader/group/researchers/system",
    "image/debian",
    "image/research/own",
]


def with_objects(objects: Mapping[str, Any] = OBJECTS, **openstack: Any) -> Environment:
    return environment(1, openstack={"objects": objects, **openstack})


def wanted(objects: Mapping[str, Any] = OBJECTS) -> dict[str, Wanted]:
    return {one.key: one.wanted for one in declared(with_objects(objects))}


def test_each_object_is_called_by_names() -> None:
    assert [one.key for one in declared(with_objects())] == KEYS
    assert declared(environment(1)) == []


def image(**fields: Any) -> dict[str, Any]:
    return {"images": [{key: value for key, value in {**IMAGE, **fields}.items() if value is not None}]}


def assignment(**fields: Any) -> dict[str, Any]:
    return {"role_assignments": [{"role": "member", "user": "bob", "system": True, **fields}]}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"volumes": []}, "objects.volumes: there is no such field; there are"),
    ({"projects": [{"name": "x", "id": "1"}]}, "projects[0].id: there is no such field"),
    ({"projects": [{"name": "a/b"}]}, "projects[0].name: 'a/b' is not a name of 1 to 64 characters"),
    ({"projects": [{"name": "a::b"}]}, "'a::b' is not a name"),
    ({"projects": [{"name": "x" * 65}]}, "is not a name of 1 to 64 characters"),
    ({"projects": [{"name": "x"}, {"name": "X"}]}, "projects[1]: project/X is declared twice"),
    (
        {"projects": [{"name": "research"}], **assignment(system=False, project="reserch")},
        "role_assignments[0].project: project/reserch is not among openstack.objects.projects; the closest is"
        " project/research",
    ),
    (
        assignment(user=None, group="them"),
        "group: group/them is not among openstack.objects.groups; declare it",
    ),
    (assignment(group="them"), "group: a role is of one group or one user: name one of them"),
    (assignment(project="admin"), "project: a role is on one project, one domain, or the system"),
    (assignment(group_domain="Sales"), "group_domain: there is no group here that could be in a domain"),
    (image(project="nobodys"), "images[0].project: project/nobodys is not among openstack.objects.projects"),
    (image(project_domain="Sales"), "project_domain: there is no project here"),
    (image(url="https://x/y"), "images[0].url: an image has one of url and file"),
    (image(file=None), "images[0].url: an image has one of url and file"),
    (image(file=None, url="ftp://x/y"), "'ftp://x/y' is not a URL such as"),
    (image(sha256="12"), "images[0].sha256: '12' is not a SHA-256 of 64 hexadecimal digits"),
    (image(sha256=None), "images[0].sha256: is missing"),
    (image(format="vmdk"), "images[0].format: "),
    (image(visibility="secret"), "images[0].visibility: "),
    (image(properties={"os_hash_value": "x"}), "properties.os_hash_value: is no property but a field"),
    (image(properties={"os_glance_x": "x"}), "properties.os_glance_x: 'os_glance_x' is not the name of"),
    (image(min_disk_gib=-1), "images[0].min_disk_gib: -1 is less than 0"),
]


@pytest.mark.parametrize(("objects", "expected"), MISTAKES, ids=[text[:40] for _, text in MISTAKES])
def test_a_mistake_is_named_at_its_field(objects: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        with_objects(objects)
    assert expected in str(caught.value)
    assert "nothing has been changed" in str(caught.value)


def test_the_example_in_the_documents_is_taken() -> None:
    text = Path(__file__).parents[2].joinpath("docs/operating.md").read_text()
    section = text.partition("\n## Objects of OpenStack\n")[2].partition("\n    + command")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ")]
    example = yaml.safe_load(re.sub(r"sha256: \w+…", f"sha256: {SHA256}", "\n".join(lines)))
    found = declared(environment(1, **example))
    assert {one.kind for one in found} == set(KINDS)
    assert "image/research/golden" in [one.key for one in found]


def test_images_need_the_service_that_has_them() -> None:
    with pytest.raises(ConfigurationError, match=r"images\[0\]: images are glance's, which is not among"):
        with_objects(image(), services=["keystone"])


def test_what_is_always_there_and_what_is_elsewhere_need_not_be_declared() -> None:
    other = {"role": "member", "group": "x", "group_domain": "Sales"}
    env = with_objects({"role_assignments": [{**other, "project": "admin"}, {**other, "project": "shop",
                       "project_domain": "Sales"}]})  # fmt: skip
    assert len(declared(env)) == 2


def test_the_program_that_goes_to_a_server_uses_nothing_that_is_not_in_it() -> None:
    text = program_text(KINDS)
    tree = ast.parse(text)
    known = set(dir(builtins)) | {"__name__", "__class__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            assert not ast.unparse(node).startswith(("from jarvis", "import jarvis"))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    used = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    assert used - known == set()
    assert all(f'"{kind.name}": {kind.api.__name__}' in text for kind in KINDS)


def test_fields_are_compared_one_by_one() -> None:
    right = {"a": "x", "b": True, "m": {"p": "1", "q": "2", "same": "s"}}
    assert compare(right, {"a": "x", "b": True, "m": {"p": "1", "q": "2", "same": "s"}, "more": 1}) == {}
    assert compare(right, {"a": None, "b": False, "m": {"p": "3", "r": "4", "same": "s"}}) == {
        "a": 'a is null, not "x"',
        "b": "b is false, not true",
        "m.p": 'm.p is "3", not "1"',
        "m.q": 'm.q is missing, not "2"',
        "m.r": 'm.r is "4", and not declared',
    }
    assert compare({"m": {"p": "1"}}, {}) == {"m.p": 'm.p is missing, not "1"'}


ASKED: dict[str, Any] = {
    "url": "http://x/v3",
    "authority": "",
    "user": "admin",
    "password": "s3cret",
    "project": "admin",
    "endpoints": {},
    "seconds": 5,
    "wait": 0,
}
CLASSES = {kind.name: kind.api for kind in KINDS}


@pytest.fixture
def keystone(monkeypatch: pytest.MonkeyPatch) -> Keystone:
    fake = Keystone()

    def call(_: Cloud, service: str, method: str, path: str, body: Any = None, **__: Any) -> Any:
        assert service == ("network" if path.startswith("/networks") else "identity")
        return fake.ask("PATCH" if (service, method) == ("network", "PUT") else method, path, body)

    monkeypatch.setattr(Cloud, "call", call)
    monkeypatch.setattr(program, "_AGAIN_SECONDS", 0)
    return fake


def act(action: str, one: Wanted, **asked: Any) -> str:
    return program.act(action, {**ASKED, **asked}, one.told(), CLASSES)


def of_keystone() -> dict[str, Wanted]:
    return {key: one for key, one in wanted().items() if not key.startswith("image")}


def test_objects_are_made_once_in_the_order_of_kinds(keystone: Keystone) -> None:
    assert {act("adopt", one) for one in of_keystone().values()} == {"made"}
    made = list(keystone.changes)
    assert made == ["POST projects", "POST projects", "POST groups"]
    assert keystone.items["projects"] == [
        {
            "id": "projects0",
            "enabled": True,
            "name": "research",
            "domain_id": "default",
            "description": "All",
        },
        {"id": "projects1", "enabled": True, "name": "shop", "domain_id": "d2", "description": ""},
    ]
    assert keystone.grants == {
        "/projects/projects0/groups/groups0/roles/member",
        "/domains/d2/users/u1/roles/admin",
        "/system/groups/groups0/roles/reader",
    }
    assert {act("adopt", one) for one in of_keystone().values()} == {"adopted"}
    assert {act("keep", one) for one in of_keystone().values()} == {"as it shall be"}
    assert keystone.changes == made


def test_what_somebody_made_stays_as_it_is_and_what_is_ours_is_put_right(keystone: Keystone) -> None:
    one = wanted()["project/research"]
    theirs = {"id": "p", "name": "research", "domain_id": "default", "enabled": False, "description": None}
    keystone.items["projects"] = [dict(theirs)]
    with pytest.raises(Refusal) as caught:
        act("adopt", one)
    assert str(caught.value) == (
        'is there already, and differs: description is "", not "All"; enabled is false, not true'
    )
    assert keystone.items["projects"] == [theirs]
    assert act("keep", one) == "changed: description, enabled"
    assert keystone.items["projects"] == [{**theirs, "enabled": True, "description": "All"}]
    # One of the same name in another domain is another one.
    keystone.items["projects"][0]["domain_id"] = "d2"
    assert act("keep", one) == "made"


def test_what_leaves_goes_and_may_be_gone_already(keystone: Keystone) -> None:
    every = of_keystone()
    for one in every.values():
        act("adopt", one)
    for key in reversed(every):
        assert act("remove", every[key]) == "removed"
    assert (keystone.items["projects"], keystone.items["groups"], keystone.grants) == ([], [], set())
    assert {act("remove", one) for one in every.values()} == {"is not there"}


def test_a_kind_with_a_usual_api_is_data_alone(keystone: Keystone) -> None:
    class Networks(Items):
        service, path, many, one, update = "network", "/networks", "networks", "network", "PUT"
        fields = ("mtu", "shared")

    kind = Networks(Cloud(ASKED))
    one = {"where": {"name": "provider"}, "fields": {"mtu": 1500, "shared": True}}
    assert put(kind, one, adopt=True) == "made"
    keystone.items["networks"][0]["mtu"] = 9000
    assert put(kind, one, adopt=False) == "changed: mtu"
    assert keystone.items["networks"][0]["mtu"] == 1500
    assert remove(kind, one) == "removed"
    assert keystone.items["networks"] == []


def test_a_field_that_never_changes_is_refused(keystone: Keystone) -> None:
    class Fixed(kind_of("group").api):  # type: ignore[misc]
        pass

    one = {**wanted()["group/researchers"].told(), "fixed": ["description"]}
    keystone.items["groups"] = [
        {"id": "g", "name": "researchers", "domain_id": "default", "description": "x"}
    ]
    with pytest.raises(Refusal, match='description is "x", not ""; that cannot be changed'):
        put(Fixed(Cloud(ASKED)), one, adopt=False)
    keystone.items["groups"] *= 2
    with pytest.raises(Refusal, match="there are 2 of this name"):
        remove(Fixed(Cloud(ASKED)), one)


def test_a_service_that_comes_back_is_waited_for_and_an_answer_is_not_tried_again(keystone: Keystone) -> None:
    one = wanted()["project/research"]
    keystone.failures = [503, 502]
    assert act("adopt", one, wait=60) == "made"
    keystone.failures = [503]
    with pytest.raises(urllib.error.HTTPError):
        act("adopt", one)
    keystone.failures = [403]
    with pytest.raises(urllib.error.HTTPError) as caught:
        act("adopt", one, wait=60)
    assert program.said(caught.value) == "/v3/projects: 403 no: why"
    with pytest.raises(Refusal, match="its administrator is not let in"):
        act("adopt", one, wait=60, password="another")


def test_a_look_says_of_each_what_it_is_or_why_not(keystone: Keystone) -> None:
    every = of_keystone()
    act("adopt", every["project/research"])
    before = list(keystone.changes)
    asked = {**ASKED, "objects": [one.told() for one in every.values()]}
    found = program.look_at_all(asked, CLASSES)
    assert found == {
        "project/research": {"is": {"description": "All", "enabled": True}},
        "project/Sales/shop": {"missing": True},
        "group/researchers": {"missing": True},
        KEYS[3]: {"lacks": "group/researchers"},
        KEYS[4]: {"missing": True},
        KEYS[5]: {"lacks": "group/researchers"},
    }
    assert keystone.changes == before
    # Read as new: what is declared beside it will be there.
    assert judge([], list(every.values()), found) == subject.Judged()
    del every["group/researchers"]
    new = judge([], list(every.values()), found)
    assert new.conflicts == {
        KEYS[3]: ["there is no group/researchers"],
        KEYS[5]: ["there is no group/researchers"],
    }
    old = judge(list(every.values()), [], found)
    assert old.found["project/research"] == []
    assert old.found[KEYS[3]] == ["missing, with group/researchers"]
    assert old.found[KEYS[4]] == ["missing"]
    with pytest.raises(KeyError):
        judge([], list(every.values()), {})


def test_the_record_of_objects_is_read_as_it_was_written() -> None:
    one = wanted(image(min_disk_gib=3, properties={"hw_x": "1"}))["image/debian"]
    former = Former(wanted=Wanted(**{**vars(one), "content": {"sha512": "ab", "size": 600}}), sent=2)
    written = json.loads(json.dumps(subject.to_record([former])), parse_int=float)
    [found] = read_declared(written).values()
    assert found.wanted.told() == former.wanted.told()
    assert (found.sent, found.wanted.sha256) == (2, SHA256)
    assert isinstance(found.wanted.fields["min_disk_gib"], int)
    assert subject.to_record([]) == {}
    assert read_declared({}) == {}
    later = {**written["declared"][0], "kind": "flavor"}
    assert read_declared({"declared": [later]}) == {}


def contents(tmp_path: Path) -> Contents:
    (tmp_path / "disk.raw").write_bytes(DISK)
    return Contents(folder=tmp_path)


def images(*fields: dict[str, Any]) -> list[Declaration]:
    every = [image(name=f"i{at}", **each)["images"][0] for at, each in enumerate(fields)]
    return declared(with_objects({"images": every}))


QCOW2 = b"QFI\xfb" + DISK


def test_the_content_of_images_is_compared_on_this_machine(tmp_path: Path) -> None:
    found = contents(tmp_path).check(images({}))
    sha512 = hashlib.sha512(DISK).hexdigest()
    assert found == {"image/i0": {"sha256": SHA256, "sha512": sha512, "size": 600}}
    (tmp_path / "disk.qcow2").write_bytes(QCOW2)
    qcow2 = {"file": "disk.qcow2", "sha256": hashlib.sha256(QCOW2).hexdigest()}
    contents(tmp_path).check(images({**qcow2, "format": "qcow2"}))
    with pytest.raises(ConfigurationError) as caught:
        contents(tmp_path).check(
            images({"sha256": "0" * 64}, {"file": "none"}, {"format": "qcow2"}, qcow2, {})
        )
    head, *lines = str(caught.value).splitlines()
    assert head == "these images cannot be made; nothing has been changed:"
    wrong = f"the sha256 of {tmp_path}/disk.raw is {SHA256}, not {'0' * 64}"
    assert lines == [
        f"  openstack.objects.images[0]: image/i0: {wrong}",
        "  openstack.objects.images[1]: image/i1: there is no file none",
        f"  openstack.objects.images[2]: image/i2: format is qcow2, and {tmp_path}/disk.raw is not",
        f"  openstack.objects.images[3]: image/i3: format is raw, and {tmp_path}/disk.qcow2 is in qcow2",
    ]


def test_what_is_fetched_has_its_name_once_its_digest_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def urlopen(url: str, timeout: int) -> io.BytesIO:
        fetched.append(url)
        if url.endswith("gone"):
            raise urllib.error.URLError("no such host")
        return io.BytesIO(DISK)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    where = Contents(folder=tmp_path)
    right = {"file": None, "url": "https://x.org/a"}
    assert where.missing(images(right, {})) == ["https://x.org/a"]
    assert where.check(images(right))["image/i0"]["size"] == 600
    assert [path.name for path in where.fetched.iterdir()] == [SHA256]
    assert where.missing(images(right)) == []
    # Once.
    where.check(images(right))
    assert fetched == ["https://x.org/a"]
    with pytest.raises(ConfigurationError) as caught:
        where.check(
            images({**right, "sha256": "0" * 64}, {**right, "url": "https://x.org/gone", "sha256": "1" * 64})
        )
    assert f"the sha256 of https://x.org/a is {SHA256}, not {'0' * 64}" in str(caught.value)
    assert "image/i1: <urlopen error no such host>" in str(caught.value)
    assert [path.name for path in where.fetched.iterdir()] == [SHA256]


REGISTERED = read_registered({"registered": RECORD})


def looked(
    env: Environment,
    before: Mapping[str, Former],
    said: Mapping[str, Any] | str,
    where: Contents | None,
) -> tuple[Looked, Answered, list[Any]]:
    """The objects after a look at which the program ``said`` this, and what it was asked."""
    asked: list[Any] = []

    async def ask(question: Mapping[str, Any]) -> Any:
        asked.append(question)
        return said if isinstance(said, str) else {"found": said}

    objects = Looked(env, before, REGISTERED, where, ask=ask)

    async def run() -> Answered:
        await objects.prepare()
        return await objects.look()

    return objects, asyncio.run(run()), asked


def formers(env: Environment) -> dict[str, Former]:
    return {one.key: Former(wanted=one.wanted) for one in declared(env)}


def test_what_is_new_is_asked_for_too_and_ends_the_run_where_it_differs(tmp_path: Path) -> None:
    env = went(with_objects({"projects": [{"name": "a"}, {"name": "b"}], **image()}))
    content = {"status": "active", "algorithm": "sha512", "value": "other", "size": 600}
    fields = {**wanted(image())["image/debian"].fields, "content": content}
    said = {
        "project/a": {"is": {"description": "x", "enabled": True}},
        "project/b": {"missing": True},
        "image/debian": {"is": fields},
    }
    objects, found, [asked] = looked(env, {}, said, contents(tmp_path))
    assert found == Answered(found={NAME: {}})
    assert [one["key"] for one in asked["objects"]] == ["project/a", "project/b", "image/debian"]
    assert asked["endpoints"]["image"] == "https://image.example.org"
    with pytest.raises(ConfigurationError) as caught:
        objects.check()
    lines = str(caught.value).splitlines()
    assert lines[1:3] == [
        '  openstack.objects.projects[0]: project/a: description is "x", not ""',
        "  openstack.objects.images[0]: image/debian: content is another than that of sha256",
    ]
    # Equal, and so adopted.
    said["project/a"] = {"is": {"description": "", "enabled": True}}
    content["value"] = hashlib.sha512(DISK).hexdigest()
    objects, _, _ = looked(env, {}, said, contents(tmp_path))
    objects.check()


def test_what_is_known_is_compared_with_what_it_was_left_as(tmp_path: Path) -> None:
    before = formers(with_objects({"projects": [{"name": "a", "description": "was"}, {"name": "gone"}]}))
    env = went(with_objects({"projects": [{"name": "a", "description": "is to be"}]}))
    said = {"project/a": {"is": {"description": "was", "enabled": False}}}
    objects, found, [asked] = looked(env, before, said, contents(tmp_path))
    # Another description is a change and no drift; what left is not asked for.
    assert found == Answered(found={NAME: {"project/a": ["enabled is false, not true"]}})
    assert [one["key"] for one in asked["objects"]] == ["project/a"]
    objects.check()
    [kept] = objects.left()["declared"]
    assert kept["fields"]["description"] == "is to be"
    _, silent, _ = looked(env, before, "s1: no route", contents(tmp_path))
    assert silent == Answered(silent={NAME: "s1: no route"})
    _, silent, _ = looked(env, before, {}, contents(tmp_path))
    assert silent == Answered(silent={NAME: "an answer without 'project/a'"})
    # `make drift` makes nothing, and asks for nothing that is new.
    _, found, asked = looked(went(with_objects({"projects": [{"name": "new"}]})), {}, {}, None)
    assert (found, asked) == (Answered(), [])


def test_an_image_that_is_gone_is_sent_once_more(tmp_path: Path) -> None:
    env = went(with_objects(image()))
    said: dict[str, Any] = {"image/debian": {"missing": True}}
    before = formers(env)
    # Known, and so its file need not be here any more; unless it is to be uploaded.
    fields = {
        **before["image/debian"].wanted.fields,
        "content": {"status": "active", "algorithm": None, "size": 1},
    }
    objects, _, _ = looked(env, before, {"image/debian": {"is": fields}}, Contents(folder=tmp_path))
    objects.check()
    assert (objects.sent("image/debian"), objects.sending) == (0, [])
    objects, _, _ = looked(env, before, said, Contents(folder=tmp_path))
    with pytest.raises(ConfigurationError, match=r"there is no file disk\.raw"):
        objects.check()
    objects, _, _ = looked(env, before, said, contents(tmp_path))
    objects.check()
    assert (objects.sent("image/debian"), objects.sending) == (1, ["image/debian"])
    again = read_declared(json.loads(json.dumps(objects.left())))
    assert again["image/debian"].sent == 1


def test_what_never_changes_of_an_object_ends_a_run(tmp_path: Path) -> None:
    before = formers(with_objects(image()))
    other = with_objects(image(sha256="0" * 64, format="qcow2", visibility="private"))
    with pytest.raises(ConfigurationError) as caught:
        looked(went(other), before, {}, contents(tmp_path))
    assert str(caught.value).splitlines()[1:3] == [
        "  openstack.objects.images[0].format: of image/debian",
        "  openstack.objects.images[0].sha256: of image/debian",
    ]
    # It would be looked for in another project, and made there once more.
    moved = with_objects(image(), keystone={"admin_project": "others"})
    with pytest.raises(ConfigurationError, match=r"images\[0\]\.project: of image/debian"):
        looked(went(moved), before, {}, contents(tmp_path))


def test_a_run_ends_before_anything_is_read_where_an_image_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = with_objects(image(file="/nowhere/disk.raw"))
    stack = Stack(env, {}, monkeypatch)
    with pytest.raises(ConfigurationError, match=r"image/debian: there is no file /nowhere/disk\.raw"):
        stack.run()
    assert not stack.read


def test_a_look_without_a_preview_asks_for_them_too() -> None:
    env = with_objects()
    values = json.loads(env.model_dump_json(exclude_unset=True))
    blob = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"k" * 32).decode()
    for server in values["servers"]:
        server["host_key"] = f"ssh-ed25519 {blob}"
    config = {"jarvis:environment": {"value": json.dumps(values)}}
    record = {**to_record(env), "registered": RECORD, **subject.to_record([*formers(env).values()])}

    def sources(record: dict[str, Any]) -> list[str]:
        return [one.name for one in read_stack(config, {"deployed": record}, "x")[2]]

    assert sources(record) == ["Kubernetes", "Keystone", NAME]
    del record["declared"]
    assert sources(record) == ["Kubernetes", "Keystone"]


def test_passwords_are_in_no_argument_and_secret_in_the_state(whole: Graph) -> None:
    program_of = whole.resources[PROGRAM_LABEL]
    assert "stdin" in program_of.secrets
    assert f"{FOLDER}/administrator.json" in program_of.inputs["stdin"]
    assert "passwordkeystoneadmin" in program_of.inputs["stdin"]
    for one in whole.resources.values():
        if one.parent == "jarvis:openstack:Objects objects":
            shown = {key: value for key, value in one.inputs.items() if key != "stdin"}
            assert "passwordkeystoneadmin" not in json.dumps(shown), one.label
    # And what a preview sends goes by standard input alone.
    assert REGISTERED is not None
    assert "s3cret" in json.dumps(question(REGISTERED, [], 1))
    assert "s3cret" not in program_text(KINDS)


COMMAND = "command:remote:Command"
PROGRAM_LABEL = f"{COMMAND} objects-program"
OWN = {
    "projects": [{"name": "research"}],
    "groups": [{"name": "researchers"}],
    "role_assignments": [{"role": "member", "group": "researchers", "project": "research"}],
    "images": [{**IMAGE, "project": "research"}],
}


def declaring(env: Environment, objects: Mapping[str, Any] = OWN) -> Environment:
    openstack = env.openstack
    sections = type(openstack.objects).model_validate(objects)
    return env.model_copy(update={"openstack": openstack.model_copy(update={"objects": sections})})


@pytest.fixture(scope="module")
def whole(production: Environment) -> Graph:
    return graph_of(declaring(production))


def told(graph: Graph, key: str, action: str = "create") -> list[str]:
    """The words of an object's command line."""
    return shlex.split(graph.resources[f"{COMMAND} {key}"].inputs[action], comments=True)


def test_each_object_is_one_resource_and_nothing_else_changes(deployed: Graph, whole: Graph) -> None:
    new = whole.resources.keys() - deployed.resources.keys()
    image_key = "image/research/debian"
    assert new == {
        "jarvis:openstack:Objects objects",
        PROGRAM_LABEL,
        f"{COMMAND} project/research",
        f"{COMMAND} group/researchers",
        f"{COMMAND} {KEYS[3]}",
        f"{COMMAND} {image_key}",
        f"command:remote:CopyToRemote {image_key}",
    }
    assert deployed.resources.keys() <= whole.resources.keys()
    for label, one in deployed.resources.items():
        assert one == whole.resources[label], label
    for key in ("project/research", image_key):
        one = whole.resources[f"{COMMAND} {key}"]
        assert one.protected
        assert one.deleted_with == "jarvis:hosts:Host rack1-a"
        # Each of its fields is a line of a preview.
        words = told(whole, key)
        assert words[:4] == ["exec", "python3", PROGRAM, "adopt"]
        assert ('\n  "enabled": true' in one.inputs["create"]) is (key != image_key)
        assert ('\n  "visibility": "public"' in one.inputs["create"]) is (key == image_key)
        assert told(whole, key, "update")[3:] == ["keep", *words[4:]]
        assert json.loads(told(whole, key, "delete")[4]).keys() == {"kind", "key", "where"}
    copied = whole.resources[f"command:remote:CopyToRemote {image_key}"].inputs
    assert json.loads(told(whole, image_key)[4])["source"] == {"path": copied["remotePath"], "sha256": SHA256}


def test_an_object_waits_for_its_service_and_for_those_that_it_names(whole: Graph) -> None:
    assigned = whole.before(f"{COMMAND} {KEYS[3]}")
    assert {f"{COMMAND} project/research", f"{COMMAND} group/researchers", PROGRAM_LABEL} <= assigned
    project = whole.before(f"{COMMAND} project/research")
    glance = "kubernetes:apps/v1:Deployment glance"
    assert {"kubernetes:batch/v1:Job keystone-bootstrap", "kubernetes:apps/v1:Deployment keystone"} <= project
    assert glance not in project
    assert f"{COMMAND} group/researchers" not in project
    assert {glance, f"{COMMAND} project/research"} <= whole.before(f"{COMMAND} image/research/debian")


def seen_graph(env: Environment, kept: Kept, said: Any) -> Graph:
    def drift() -> Drift:
        async def servers(*_: object) -> Answered:
            return Answered(found=WELL)

        async def ask(_: Mapping[str, Any]) -> Any:
            return {"found": said}

        objects = Looked(env, formers(env), REGISTERED, None, ask=ask)
        return Drift(env, Watch.TRUE, kept, servers, declared=objects)

    return graph_of(env, drift=drift)


def test_what_somebody_changed_shows_on_the_object_alone(production: Environment) -> None:
    env = went(declaring(production))
    there: dict[str, dict[str, Any]] = {one.key: {"is": dict(one.wanted.fields)} for one in declared(env)}
    content = {"status": "active", "algorithm": None, "value": None, "size": 1}
    there["image/research/debian"]["is"]["content"] = content
    well = seen_graph(env, {}, there)
    there["project/research"]["is"]["enabled"] = False
    kept = {NAME: {"project/research": Seen(count=1, sentences=("missing",))}}
    drifted = seen_graph(env, kept, there)
    differing = {
        label for label, one in drifted.resources.items() if one.inputs != well.resources[label].inputs
    }
    label = f"{COMMAND} project/research"
    assert differing == {label}
    text = drifted.resources[label].inputs["update"]
    assert text.endswith("\n# seen 2: enabled is false, not true")
    # What is made anew is not told of it.
    assert "seen" not in drifted.resources[label].inputs["create"]
    # A deleted image is copied to the server once more.
    there["image/research/debian"] = {"missing": True}
    gone = seen_graph(env, {}, there)
    label = "command:remote:CopyToRemote image/research/debian"
    assert gone.resources[label].inputs["remotePath"] != well.resources[label].inputs["remotePath"]


def test_an_object_that_differs_ends_a_preview(production: Environment) -> None:
    env = went(declaring(production, {"projects": [{"name": "research"}]}))

    def drift() -> Drift:
        async def servers(*_: object) -> Answered:
            return Answered(found=WELL)

        async def ask(_: Mapping[str, Any]) -> Any:
            return {"found": {"project/research": {"is": {"description": "x", "enabled": True}}}}

        objects = Looked(env, {}, REGISTERED, Contents(), ask=ask)
        return Drift(env, Watch.TRUE, {}, servers, declared=objects)

    with pytest.raises(ConfigurationError, match='project/research: description is "x", not ""'):
        graph_of(env, drift=drift)


def test_an_object_is_removed_by_name_alone(production: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    kept: dict[str, Any] = {}

    def run(env: Environment, deployed: Mapping[str, Any]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # As stacks.start does it, at the end of the program.
            patch.setattr("tests.unit.runs.begin", lambda _: None)
            graph_of(env)
        try:
            safety.check(deployed)
            kept.update(safety.kept())
        finally:
            safety.begin(Safety(protect=False))

    run(declaring(production), {})
    assert kept["project/research"]["what"].startswith("project/research, with the rights on it")
    with pytest.raises(ConfigurationError) as caught:
        run(production, kept)
    assert "image/research/debian, with its content" in str(caught.value)
    assert "name it in safety.may_remove" in str(caught.value)
    may = Safety(may_remove=[key for key in kept if key.partition("/")[0] in {kind.name for kind in KINDS}])
    warnings.clear()
    run(production.model_copy(update={"safety": may}), kept)
    assert any("--ignore-protect" in each for each in warnings)


def test_the_record_has_objects_only_where_there_are_some() -> None:
    assert "declared" not in recorded(environment(1))
    assert Looked(environment(1), {}, None).left() == {}
