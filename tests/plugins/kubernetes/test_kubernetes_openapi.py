"""What the golden tests know of Kubernetes' API is what the pinned API server says and does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from record_openapi import recorded

from tests.golden.mistakes import GOOD, MISTAKES, NO_QUANTITIES, QUANTITIES, Mistake
from tests.golden.openapi import DATA
from tests.golden.test_golden import STACKS, graph_of

Try = Callable[[Mapping[str, Any]], str]


@pytest.fixture(scope="module")
def tried(api_server: ApiServer) -> Try:
    """A function that has the server try to apply an object as the plugin would, strictly, but not keep it.
    It returns why the server refuses, or an empty text."""
    found: dict[str, dict[str, str]] = {}

    def resource(version: str, kind: str) -> str:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in found:
            listed = api_server.call("GET", root)["resources"]
            found[version] = {one["kind"]: one["name"] for one in listed if "/" not in one["name"]}
        return f"{root}/{{}}{found[version][kind]}"

    def attempt(made: Mapping[str, Any]) -> str:
        namespace = made.get("metadata", {}).get("namespace")
        path = resource(made["apiVersion"], made["kind"]).format(
            f"namespaces/{namespace}/" if namespace else ""
        )
        options = "fieldManager=tests&fieldValidation=Strict&dryRun=All&force=true"
        try:
            api_server.call(
                "PATCH", f"{path}/{made['metadata']['name']}?{options}", made, "application/apply-patch+yaml"
            )
        except AssertionError as refused:
            return str(refused)
        return ""

    return attempt


def whole(value: Any) -> Any:
    """``value`` with integers where the engine's protocol has floating numbers, as the plugin sends it."""
    if isinstance(value, dict):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_the_golden_document_is_the_one_that_the_server_has(api_server: ApiServer) -> None:
    assert recorded(api_server) == DATA.read_text(encoding="utf-8"), "make openapi"


@pytest.mark.parametrize("kind", GOOD)
def test_the_server_takes_what_the_check_takes(kind: str, tried: Try) -> None:
    assert tried(whole(GOOD[kind])) == ""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_the_server_refuses_what_the_check_refuses(mistake: Mistake, tried: Try) -> None:
    assert tried(whole(mistake.made())) != ""


@pytest.mark.parametrize("amount", [*QUANTITIES, *NO_QUANTITIES])
def test_the_server_knows_the_same_quantities(amount: str, tried: Try) -> None:
    made = copy.deepcopy(GOOD["Deployment"])
    made["spec"]["template"]["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = amount
    assert (tried(whole(made)) == "") == (amount in QUANTITIES)


@pytest.mark.parametrize("stack", STACKS)
def test_the_server_takes_every_object_of_the_golden_stacks(
    stack: str, tmp_path: Path, tried: Try, api_server: ApiServer
) -> None:
    graph = graph_of(stack, tmp_path)
    made = [whole(one.inputs) for one in graph.resources.values() if one.kind.startswith("kubernetes:")]
    assert len(made) > 50
    for each in made:
        if each["kind"] == "Namespace":
            api_server.call(
                "PATCH",
                f"/api/v1/namespaces/{each['metadata']['name']}?fieldManager=tests&force=true",
                each,
                "application/apply-patch+yaml",
            )
    refused = {f"{one['kind']} {one['metadata']['name']}": told for one in made if (told := tried(one))}
    assert refused == {}
