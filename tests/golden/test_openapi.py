"""The check of objects by the OpenAPI document of Kubernetes sees the mistakes that it is there for."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden.mistakes import GOOD, MISTAKES, NO_QUANTITIES, QUANTITIES, Mistake
from tests.golden.openapi import Api, part

PROJECT = Path(__file__).parents[2]
API = Api.pinned()


def test_the_document_is_of_the_pinned_release() -> None:
    lock = tomllib.loads((PROJECT / "toolchain" / "lock.toml").read_text(encoding="utf-8"))
    assert API.release == lock["tools"]["kubernetes"]["version"], "make openapi"


def test_the_document_has_the_kinds_of_the_golden_objects_alone() -> None:
    stacks = yaml.safe_load((PROJECT / "tests" / "golden" / "objects.yaml").read_text(encoding="utf-8"))
    kinds = {one.rpartition(" ")[0] for objects in stacks.values() for one in objects}
    assert API.kinds.keys() == kinds, "make openapi"


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_object_has_no_mistake(kind: str) -> None:
    assert API.mistakes(GOOD[kind]) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_is_told_by_its_field(mistake: Mistake) -> None:
    assert API.mistakes(mistake.made()) == [mistake.told]


def test_every_mistake_is_told() -> None:
    made = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metdata": {}, "spec": {"minReadySeconds": "0"}}
    assert API.mistakes(made) == [
        "metdata: there is no such field",
        "spec.minReadySeconds: is no integer",
        "spec.selector: is missing",
        "spec.template: is missing",
    ]


def test_nothing_is_no_value() -> None:
    assert API.mistakes({**GOOD["Role"], "rules": None}) == ["rules: is no array"]


def test_an_unknown_kind_is_told() -> None:
    assert API.mistakes({"apiVersion": "apps/v1", "kind": "Deploymnt"}) == [
        "apps/v1 Deploymnt is not among the kinds of openapi.json; if it should be: make openapi"
    ]


@pytest.mark.parametrize("amount", [*QUANTITIES, *NO_QUANTITIES])
def test_quantities(amount: str) -> None:
    mistake = Mistake(
        kind="Deployment",
        path=("spec", "template", "spec", "volumes", 0, "emptyDir", "sizeLimit"),
        value=amount,
        told="spec.template.spec.volumes[0].emptyDir.sizeLimit: is no quantity",
    )
    assert API.mistakes(mistake.made()) == ([] if amount in QUANTITIES else [mistake.told])


def test_a_field_of_free_form_may_hold_anything() -> None:
    entry = {"manager": "kubectl", "fieldsV1": {"f:data": {}}}
    metadata = {**GOOD["ConfigMap"]["metadata"], "managedFields": [entry]}
    assert API.mistakes({**GOOD["ConfigMap"], "metadata": metadata}) == []


def test_an_object_without_fields_has_none() -> None:
    things = Api(part([document(Spec={"type": "object"})], ["v1 Thing"], "1.2.3"))
    thing = {"apiVersion": "v1", "kind": "Thing", "spec": {}}
    assert things.mistakes(thing) == []
    assert things.mistakes({**thing, "spec": {"size": 1}}) == ["spec.size: there is no such field"]


# --- how the file is made ----------------------------------------------------------------------------------


def document(**schemas: Any) -> dict[str, Any]:
    """A document of one version of an API that has a kind v1 Thing."""
    thing = {
        "type": "object",
        "description": "a thing",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/Spec"}]},
        },
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
    }
    return {"components": {"schemas": {"Thing": thing, "Unrelated": {"type": "object"}, **schemas}}}


def test_the_file_has_what_the_kinds_reach() -> None:
    text = part([document(Spec={"type": "object"})], ["v1 Thing"], "1.2.3")
    assert json.loads(text) == {
        "kubernetes": "1.2.3",
        "kinds": {"v1 Thing": "Thing"},
        "definitions": {
            "Thing": {
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "spec": {"$ref": "Spec"},
                },
            },
            "Spec": {"type": "object"},
        },
    }


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "x-kubernetes-preserve-unknown-fields",
        ),
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"type": "string", "format": "cidr"}, "the format cidr"),
    ],
)
def test_what_nobody_has_decided_about_ends_the_writing(schema: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        part([document(Spec=schema)], ["v1 Thing"], "1.2.3")


def test_a_kind_that_the_release_does_not_have_ends_the_writing() -> None:
    with pytest.raises(ValueError, match="does not know: v2 Thing"):
        part([document(Spec={"type": "object"})], ["v2 Thing"], "1.2.3")


def test_two_definitions_of_one_name_end_the_writing() -> None:
    documents = [document(Spec={"type": "object"}), document(Spec={"type": "string"})]
    with pytest.raises(ValueError, match="different definitions of Spec"):
        part(documents, ["v1 Thing"], "1.2.3")
