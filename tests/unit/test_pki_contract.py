"""That nothing but its request makes a secret anew: what the state of a deployed stack has stays so."""

from __future__ import annotations

import inspect
import json
import subprocess
from pathlib import Path

import pytest
from pulumi_command.local import CommandArgs

from jarvis.pki import Password, PasswordArgs, request
from jarvis.remote.local import COMMAND, FROZEN
from tests.unit.harness import Registered, record

PROJECT = Path(__file__).resolve().parents[2]


def _password() -> Registered:
    graph = record(lambda: Password("admin", PasswordArgs()))
    return graph.resources["command:local:Command admin"]


def test_a_secret_has_the_inputs_that_deployed_stacks_have() -> None:
    assert _password().inputs == {
        "addPreviousOutputInEnv": False,
        "create": "exec python3 -m jarvis.pki.issue",
        "interpreter": ["/bin/sh", "-c"],
        "logging": "none",
        "stdin": '{"kind": "password", "length": 32, "rotation": 0}',
    }


def test_no_input_but_the_request_makes_a_secret_anew() -> None:
    inputs = set(inspect.signature(CommandArgs.__init__).parameters) - {"__self__"}
    assert set(FROZEN) == inputs - {"stdin"}
    sent = {name.replace("_", "").lower() for name in FROZEN}
    assert {name.lower() for name in _password().ignores} == sent


def test_the_command_line_of_deployed_stacks_runs_in_the_project() -> None:
    asked = json.dumps({"kind": "password", "length": 20, "rotation": 0})
    run = subprocess.run(
        ["/bin/sh", "-c", COMMAND], input=asked, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert len(run.stdout) == 20


def test_a_field_that_is_added_stands_in_a_request_only_where_it_says_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = request.request("password", length=32, rotation=0)
    monkeypatch.setattr(request, "ADDED", {"password": {"alphabet": "letters"}})
    assert request.request("password", length=32, rotation=0) == before
    assert request.request("password", length=32, rotation=0, alphabet="letters") == before
    digits = request.request("password", length=32, rotation=0, alphabet="digits")
    assert digits == {**before, "alphabet": "digits"}
    assert request.complete(before)["alphabet"] == "letters"
    assert request.complete(digits)["alphabet"] == "digits"


@pytest.mark.parametrize(
    ("kind", "fields", "wrong"),
    [
        ("password", {"length": 32}, "rotation"),
        ("password", {"length": 32, "rotation": 0, "colour": "red"}, "colour"),
        ("passport", {}, "passport"),
    ],
)
def test_a_request_is_of_the_contract_or_none(kind: str, fields: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        request.request(kind, **fields)
