"""Who owns which field becomes sentences: what others changed, added and removed, and nothing else."""

from __future__ import annotations

from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest

from jarvis.config.field_path import Path, parse, spelled
from jarvis.drift.owners import RIGHTLY, Found, Live, Ours, from_text, judge, read_live, to_text
from jarvis.kubernetes import forget
from jarvis.kubernetes.managed_fields import members, tree
from jarvis.kubernetes.take_back import MANAGER, take, taken

OURS = "pulumi-kubernetes-0a1b2c3d"
THEN, NOW = "2026-11-20T08:00:00Z", "2026-11-23T13:10:05Z"
CONTAINER = 'f:spec/f:template/f:spec/f:containers/k:{"name":"glance"}'
ENV = f'{CONTAINER}/f:env/k:{{"name":"DEBUG"}}'


def paths(*texts: str) -> frozenset[Path]:
    return frozenset(tuple(text.split("/")) for text in texts)


def entry(manager: str, *texts: str, time: str = NOW, **more: Any) -> dict[str, Any]:
    operation = "Apply" if manager.startswith("pulumi") else "Update"
    fields = tree(paths(*texts))
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields, **more}


def live(*entries: dict[str, Any]) -> Live:
    return read_live({"managedFields": list(entries)})


def ours(*texts: str) -> dict[str, Any]:
    return entry(OURS, *texts, time=THEN)


def before(*texts: str, time: str = THEN) -> Ours:
    return Ours(time=time, paths=paths(*texts))


AT = "2026-11-23 13:10 UTC"
DATA = ("f:data", "f:data/f:A", "f:data/f:B")


@pytest.mark.parametrize(
    ("found", "known", "sentences"),
    [
        # As it was.
        (live(ours(*DATA)), before(*DATA), []),
        (live(ours(*DATA)), None, []),
        # Another manager applied the very same value.
        (live(ours(*DATA), entry("helm", "f:data/f:A")), before(*DATA), []),
        (
            live(ours(*DATA), entry("kubectl-edit", "f:data/f:C")),
            before(*DATA),
            [f"data.C: added by kubectl-edit {AT}"],
        ),
        (
            live(ours("f:data", "f:data/f:B"), entry("kubectl-edit", "f:data/f:A")),
            before(*DATA),
            [f"data.A: changed by kubectl-edit {AT}"],
        ),
        (live(ours("f:data", "f:data/f:B")), before(*DATA), ["data.A: removed"]),
        # Without a record changed and added cannot be told from each other, and removed not at all.
        (
            live(ours("f:data", "f:data/f:B"), entry("kubectl-edit", "f:data/f:A")),
            None,
            [f"data.A: set by kubectl-edit {AT}"],
        ),
        (live(ours("f:data", "f:data/f:B")), None, []),
        # We have applied since: an `up` that failed later.
        (live(entry(OURS, "f:data", "f:data/f:B")), before(*DATA), []),
        # By a subresource, as `kubectl scale` does.
        (
            live(ours("f:data"), entry("kubectl", "f:spec/f:replicas", subresource="scale")),
            before("f:data", "f:spec/f:replicas"),
            [f"spec.replicas: changed by kubectl {AT}"],
        ),
        # A whole element is one thing.
        (
            live(ours(CONTAINER), entry("kubectl-set", ENV, f"{ENV}/f:name", f"{ENV}/f:value")),
            before(CONTAINER),
            [f"spec.template.spec.containers[name=glance].env[name=DEBUG]: added by kubectl-set {AT}"],
        ),
        (
            live(ours(CONTAINER)),
            before(CONTAINER, ENV, f"{ENV}/f:name", f"{ENV}/f:value"),
            ["spec.template.spec.containers[name=glance].env[name=DEBUG]: removed"],
        ),
        # A map is told by what is in it.
        (
            live(ours("f:data"), entry("x", "f:metadata/f:annotations", "f:metadata/f:annotations/f:mine")),
            before("f:data"),
            [f"metadata.annotations.mine: added by x {AT}"],
        ),
        # Others took the fields of an `up` that was then cut off.
        (
            live(ours(*DATA, "f:data/f:C")),
            before(*DATA),
            ["data.C: added, and left there by an up that was cut off"],
        ),
        # Made anew by somebody.
        (
            live(entry("kubectl-create", *DATA)),
            before(*DATA),
            [f"nothing of it is Jarvis' any more: kubectl-create wrote it last {AT}"],
        ),
        (None, before(*DATA), ["deleted"]),
        # Never ours: an `up` is about to take it up, or to make it.
        (live(entry("kubectl-create", *DATA)), None, []),
        (None, None, []),
    ],
)
def test_what_is_said(found: Live | None, known: Ours | None, sentences: list[str]) -> None:
    assert list(judge(found, known).sentences) == sentences


def test_what_controllers_rightly_write_is_no_finding() -> None:
    notes = ("f:metadata", "f:annotations")
    restarted = ("f:spec", "f:template", *notes, "f:kubectl.kubernetes.io/restartedAt")
    revision = (*notes, "f:deployment.kubernetes.io/revision")
    written: list[tuple[str, set[Path], dict[str, str]]] = [
        ("kube-controller-manager", {notes, revision}, {}),
        ("kubectl-rollout", {restarted[:-1], restarted}, {}),
        ("jarvis-keys", {(*notes, "f:jarvis.internal/rotated-by")}, {}),
        ("kube-controller-manager", {("f:status", "f:replicas")}, {"subresource": "status"}),
        ("old-controller", {("f:status",)}, {}),
    ]
    owners = [{**entry(name, **more), "fieldsV1": tree(paths)} for name, paths, more in written]
    well = live(ours("f:data"), *owners)
    assert judge(well, before("f:data")) == Found()
    # Each rule is for something: by another manager, or elsewhere, it is a finding.
    assert {rule.manager for rule in RIGHTLY} == {"*", "kube-controller-manager", "jarvis-keys"}
    for name, paths in (("somebody", {revision}), ("kube-controller-manager", {("f:spec", "f:replicas")})):
        other = live(ours("f:data"), {**entry(name), "fieldsV1": tree(paths)})
        assert len(judge(other, before("f:data")).sentences) == 1


def test_what_is_ignored_is_neither_told_nor_taken() -> None:
    found = live(ours("f:metadata"), entry("kubectl-edit", "f:data/f:0", "f:type"))
    said = judge(found, before("f:metadata", "f:data/f:1"), [("f:data",)])
    assert said == Found(sentences=(f"type: added by kubectl-edit {AT}",), take=paths("f:type"))


def test_only_what_no_update_removes_is_taken() -> None:
    found = live(ours("f:data"), entry("x", "f:data/f:A", "f:data/f:C"))
    assert judge(found, before("f:data", "f:data/f:A")).take == paths("f:data/f:C")
    assert judge(found, None).take == paths("f:data/f:A", "f:data/f:C")


def test_values_are_in_no_sentence() -> None:
    """They are not even known: the API is asked for metadata, and that has names of fields."""
    found = live(ours("f:data"), entry("x", "f:data/f:password"))
    assert judge(found, None).sentences == (f"data.password: set by x {AT}",)


FIELDS = {"f:data": {".": {}, "f:A": {}}, "f:spec": {"f:list": {'k:{"name":"a"}': {".": {}, "f:name": {}}}}}


def test_fields_are_paths_and_back() -> None:
    assert tree(members(FIELDS)) == FIELDS
    assert from_text(to_text(members(FIELDS))) == members(FIELDS)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.replicas", ("f:spec", "f:replicas")),
        ('data["a.conf"]', ("f:data", "f:a.conf")),
        ('metadata.annotations["a.b/c"]', ("f:metadata", "f:annotations", "f:a.b/c")),
        ("a.b[name=c].d", ("f:a", "f:b", 'k:{"name":"c"}', "f:d")),
        ("a[port=80,protocol=TCP]", ("f:a", 'k:{"port":80,"protocol":"TCP"}')),
    ],
)
def test_a_path_is_spelled_and_read(text: str, path: Path) -> None:
    assert parse(text) == path
    assert spelled(path) == text


@pytest.mark.parametrize(
    "text", ["", ".spec", "spec.", "spec..a", "a b", "[name=a]", "a[name]", 'a[""]', "1a"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no path of a field|names no field"):
        parse(text)


def test_an_element_that_is_its_own_key_can_be_named_and_not_be_given_away() -> None:
    assert spelled(("f:metadata", "f:finalizers", 'v:"x"')) == 'metadata.finalizers[="x"]'


def test_fields_are_taken_from_all_but_us_and_from_no_status() -> None:
    mine, status = ours("f:data"), entry("c", "f:data/f:A", subresource="status")
    other = entry("x", "f:data/f:A", "f:data/f:B", apiVersion="v1", fieldsType="FieldsV1")
    wanted = tree(paths("f:data", "f:data/f:A"))
    assert taken([mine, status], wanted) is None
    found = taken([mine, status, other], wanted)
    assert found == [
        mine,
        status,
        {**other, "fieldsV1": tree(paths("f:data/f:B"))},
        {
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "time": NOW,
            "manager": MANAGER,
            "operation": "Update",
            "fieldsV1": tree(paths("f:data/f:A")),
        },
    ]
    # Run twice, the second time does nothing.
    assert taken(found, wanted) is None


class Api(forget.Api):
    """Answers as the API would that has ``entries``, and ``refuses`` so many patches."""

    def __init__(self, entries: list[dict[str, Any]], refuses: int = 0) -> None:
        super().__init__("http://192.0.2.1", None)
        self.entries, self.refuses = entries, refuses
        self.patches: list[tuple[str, str]] = []

    def ask(self, method: str, path: str, body: Any = None, content: str = "") -> Any:
        if method == "GET":
            metadata = {"managedFields": self.entries, "resourceVersion": str(self.refuses)}
            return {"metadata": metadata} if self.entries else None
        if self.refuses:
            self.refuses -= 1
            raise HTTPError(path, 409, "Conflict", Message(), None)
        self.patches.append((body[1]["value"], content))
        self.entries = body[0]["value"]
        return {}


def test_an_object_that_changes_meanwhile_is_looked_at_again() -> None:
    fields = tree(paths("f:data/f:A"))
    api = Api([ours("f:data"), entry("x", "f:data/f:A")], refuses=4)
    assert take(api, "/api/v1/x", fields)
    assert api.patches == [("0", "application/json-patch+json")]
    assert not take(api, "/api/v1/x", fields)
    assert not take(Api([]), "/api/v1/gone", fields)
    with pytest.raises(HTTPError):
        take(Api([entry("x", "f:data/f:A")], refuses=9), "/api/v1/x", fields)
