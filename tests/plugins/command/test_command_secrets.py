"""Generated secrets before the real engine: those of a stack stay, whatever their code becomes."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
import yaml
from pulumi_cli import ROOT, Stack

from jarvis.kubernetes.break_glass import kubeconfig

PROGRAM = """
from jarvis.pki import (Authority, AuthorityArgs, Certificate, CertificateArgs, KeyPair, KeyPairArgs,
    Password, PasswordArgs, RandomKey, RandomKeyArgs)
authority = Authority("authority", AuthorityArgs(common_name="authority", rotation=rotation))
Certificate("certificate", CertificateArgs(authority=authority, common_name="one"))
KeyPair("tokens", KeyPairArgs())
Password("admin", PasswordArgs(rotation=rotation))
RandomKey("fsid", RandomKeyArgs())
"""


@pytest.fixture
def stack(stack: Stack) -> Stack:
    """A stack whose project has the code of this checkout."""
    shutil.copytree(ROOT / "jarvis", stack.folder / "jarvis", ignore=shutil.ignore_patterns("__pycache__"))
    stack.environment["JARVIS_TODAY"] = "2026-11-23"
    stack.write(PROGRAM, {"rotation": 0})
    return stack


def secrets(stack: Stack) -> dict[str, str]:
    """The generated secrets in the state, by name."""
    state = json.loads(stack.run("stack", "export", "--show-secrets", "--stack", stack.name).output)
    return {
        one["urn"].split("::")[-1]: one["outputs"]["stdout"]["plaintext"]
        for one in state["deployment"]["resources"]
        if one["type"] == "command:local:Command"
    }


def replace(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    file.write_text(text)


def test_neither_renamed_code_nor_a_field_that_is_added_nor_another_folder_re_keys(stack: Stack) -> None:
    stack.up()
    before = secrets(stack)
    assert len(before) == 8

    pki = stack.folder / "jarvis" / "pki"
    (pki / "generator.py").rename(pki / "maker.py")
    replace(pki / "issue.py", ("jarvis.pki.generator", "jarvis.pki.maker"))
    known = '{"certificate": {"days": 365}}'
    added = '{"certificate": {"days": 365}, "password": {"alphabet": "any"}, "authority": {"curve": 256}}'
    replace(
        pki / "request.py",
        (f"Mapping[str, Mapping[str, Any]] = {known}", f"Mapping[str, Any] = {added}"),
    )
    replace(pki / "password.py", ("rotation=args.rotation)", 'rotation=args.rotation, alphabet="any")'))
    # Even who breaks the contract itself, or gives the command another input, re-keys nothing that is there.
    local = stack.folder / "jarvis" / "remote" / "local.py"
    replace(
        local,
        ("exec python3 -m jarvis.pki.issue", "exec env python3 -m jarvis.pki.issue"),
        ("logging=Logging.NONE", 'logging=Logging.STDERR, environment={"A": "b"}, triggers=["a"], dir="."'),
    )
    elsewhere = stack.folder.parent / "elsewhere"
    stack.folder = stack.folder.rename(elsewhere)
    for name, value in stack.environment.items():
        stack.environment[name] = value.replace(str(elsewhere.parent / "stack"), str(elsewhere))

    run = stack.preview("--expect-no-changes")
    assert set(run.steps().values()) == {"same"}
    stack.up("--expect-no-changes")
    assert secrets(stack) == before


def test_a_rotation_makes_anew_what_it_names_and_nothing_else(stack: Stack) -> None:
    stack.up()
    before = secrets(stack)
    stack.write(PROGRAM, {"rotation": 1})
    stack.up()
    after = secrets(stack)
    assert {name for name in before if after.get(name) != before[name]} == {
        "admin",
        "authority-18",
        "certificate",
    }
    assert set(after) - set(before) == {"authority-21"}


CLUSTER = """
import pulumi
from jarvis.pki import Authority, AuthorityArgs
Authority("kubernetes-ca", AuthorityArgs(common_name="kubernetes-ca"))
pulumi.export("api", "https://192.0.2.100:6443")
"""


def test_the_exported_state_is_a_way_into_the_cluster(stack: Stack) -> None:
    stack.write(CLUSTER)
    stack.up()
    exported = stack.run("stack", "export", "--show-secrets", "--stack", stack.name).output
    found = yaml.safe_load(kubeconfig(json.loads(exported)))
    assert found["clusters"][0]["cluster"]["server"] == "https://192.0.2.100:6443"
    leaf = base64.b64decode(found["users"][0]["user"]["client-certificate-data"])
    assert b"BEGIN CERTIFICATE" in leaf
    encrypted = stack.run("stack", "export", "--stack", stack.name).output
    with pytest.raises(ValueError, match="--show-secrets"):
        kubeconfig(json.loads(encrypted))
