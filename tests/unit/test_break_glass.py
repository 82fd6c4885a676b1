"""A kubeconfig made of the state alone, for a cluster that lets no operator in."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from jarvis.kubernetes.break_glass import kubeconfig, main
from jarvis.pki.generator import generate

MARK = "4dabf18193072939515e22adb298388d"


def secret(text: str) -> dict[str, str]:
    """As ``pulumi stack export --show-secrets`` has it."""
    return {MARK: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(text)}


def authority(number: int) -> str:
    return generate({"kind": "authority", "common_name": "kubernetes-ca", "generation": number})


def state(generations: list[int]) -> dict[str, Any]:
    urn = "urn:pulumi:dev::jarvis::jarvis:kubernetes:Cluster$jarvis:pki:Authority$command:local:Command::"
    made = [
        {
            "urn": f"{urn}kubernetes-ca-{number}",
            "type": "command:local:Command",
            "outputs": {"stdout": secret(authority(number))},
        }
        for number in generations
    ]
    stack = {
        "urn": "urn:pulumi:dev::jarvis::pulumi:pulumi:Stack::jarvis-dev",
        "type": "pulumi:pulumi:Stack",
        "outputs": {"api": "https://192.0.2.100:6443"},
    }
    return {"version": 3, "deployment": {"resources": [stack, *made]}}


def decoded(user: dict[str, str], field: str) -> bytes:
    return base64.b64decode(user[field])


@pytest.mark.parametrize("generations", [[18, 19, 20], [9, 10, 11], [18, 19, 20, 21]])
def test_it_is_signed_by_a_generation_that_every_api_server_trusts(generations: list[int]) -> None:
    exported = state(generations)
    found = yaml.safe_load(kubeconfig(exported))
    [cluster], [user] = found["clusters"], found["users"]
    assert cluster["cluster"]["server"] == "https://192.0.2.100:6443"
    leaf = x509.load_pem_x509_certificate(decoded(user["user"], "client-certificate-data"))
    plaintext = exported["deployment"]["resources"][-2]["outputs"]["stdout"]["plaintext"]
    issuer = json.loads(json.loads(plaintext))["certificate"]
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(issuer.encode()))
    assert [one.value for one in leaf.subject] == ["system:masters", "jarvis:break-glass"]
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "jarvis:break-glass"
    assert leaf.not_valid_after_utc < datetime.now(UTC) + timedelta(days=1, minutes=1)
    trusted = decoded(cluster["cluster"], "certificate-authority-data").decode()
    assert trusted.count("BEGIN CERTIFICATE") == len(generations)


def test_the_file_is_its_owners_alone_and_leads_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(state([1, 2, 3]))))
    file = tmp_path / "kubeconfig"
    assert main([str(file), "https://192.0.2.11:6443"]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert "https://192.0.2.11:6443" in file.read_text()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{}", "not the state of a cloud"),
        ("", "Expecting value"),
        (json.dumps(state([18, 19, 20])).replace("plaintext", "ciphertext"), "--show-secrets"),
    ],
)
def test_what_is_no_state_is_one_line_and_no_file(text: str, wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    run = subprocess.run(
        [sys.executable, "-m", "jarvis.kubernetes.break_glass", str(file)],
        input=text,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert wrong in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not file.exists()
