"""What the generator makes, checked by its readers: cryptography, and openssl as servers use it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jarvis.pki import generator
from jarvis.pki.authority import generation
from jarvis.pki.certificate import CertificateArgs
from jarvis.pki.password import PasswordArgs
from jarvis.pki.period import AUTHORITY_RENEWAL, LEAF_DAYS, period, renewal, today


def _authority(number: int = 0) -> dict[str, str]:
    made = generator.authority({"kind": "authority", "common_name": "etcd", "generation": number})
    return json.loads(made)  # type: ignore[no-any-return]


def _request(authority: dict[str, str], **changes: Any) -> dict[str, Any]:
    return {
        "kind": "certificate",
        "authority": {"common_name": "etcd", "key": authority["key"]},
        "common_name": "one",
        "organizations": [],
        "dns_names": ["one.example.org"],
        "addresses": ["192.0.2.1"],
        "client": True,
        "server": True,
    } | changes


def _leaf(authority: dict[str, str], **changes: Any) -> tuple[x509.Certificate, dict[str, str]]:
    made = json.loads(generator.generate(_request(authority, **changes)))
    return x509.load_pem_x509_certificate(made["certificate"].encode()), made


def _issue(request: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jarvis.pki.issue"]
    return subprocess.run(command, input=request, capture_output=True, text=True, check=False)


def test_an_authority_signs_and_does_nothing_else() -> None:
    certificate = x509.load_pem_x509_certificate(_authority()["certificate"].encode())
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    certificate.verify_directly_issued_by(certificate)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3649)


def test_a_leaf_names_its_server_and_cannot_sign() -> None:
    authority = _authority()
    leaf, made = _leaf(authority, organizations=["system:masters"])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["one.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("192.0.2.1")]
    assert [a.value for a in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["one"]
    groups = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [a.value for a in groups] == ["system:masters"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    key = serialization.load_pem_private_key(made["key"].encode(), password=None)
    assert key.public_key() == leaf.public_key()
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority["certificate"].encode()))


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ({"client": True, "server": False}, {ExtendedKeyUsageOID.CLIENT_AUTH}),
        ({"client": False, "server": True}, {ExtendedKeyUsageOID.SERVER_AUTH}),
        (
            {"client": True, "server": True},
            {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH},
        ),
    ],
)
def test_a_leaf_is_good_for_what_was_asked(
    uses: dict[str, bool], expected: set[x509.ObjectIdentifier]
) -> None:
    leaf, _ = _leaf(_authority(), **uses)
    assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == expected


def test_a_leaf_lives_as_long_as_asked_and_a_year_otherwise() -> None:
    authority = _authority()
    for changes, days in (({}, 365), ({"days": 30}, 30)):
        leaf, _ = _leaf(authority, **changes)
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert life == timedelta(days=days) + generator.BACKDATED


def test_a_certificate_is_valid_for_a_clock_that_is_behind() -> None:
    now = datetime.now(UTC)
    leaf, _ = _leaf(_authority())
    assert now - timedelta(hours=2) < leaf.not_valid_before_utc < now - timedelta(minutes=59)
    assert now + timedelta(days=364) < leaf.not_valid_after_utc <= now + timedelta(days=366)


def test_openssl_finds_the_issuer_among_the_generations(tmp_path: Path) -> None:
    """All generations of an authority have one name: what trusts the bundle must pick by key."""
    generations = [_authority(number) for number in range(3)]
    (tmp_path / "bundle.pem").write_text("".join(one["certificate"] for one in generations))
    for number, authority in enumerate(generations):
        (tmp_path / "leaf.pem").write_text(_leaf(authority)[1]["certificate"])
        verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_ip", "192.0.2.1"]
        run = subprocess.run(
            [*verify, "-CAfile", "bundle.pem", "leaf.pem"], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, f"generation {number}: {run.stderr}"
    (tmp_path / "bundle.pem").write_text(generations[0]["certificate"])
    other = ["openssl", "verify", "-CAfile", "bundle.pem", "leaf.pem"]
    assert subprocess.run(other, cwd=tmp_path, capture_output=True).returncode != 0


def test_certificates_that_are_good_for_nothing_are_mistakes() -> None:
    authority: Any = None
    with pytest.raises(ValueError, match="neither a client's nor a server's"):
        CertificateArgs(authority=authority, common_name="one", client=False)
    with pytest.raises(ValueError, match="neither DNS name nor address"):
        CertificateArgs(authority=authority, common_name="one", server=True)
    with pytest.raises(ValueError, match="16 at least"):
        PasswordArgs(length=8)


def test_a_password_needs_no_quoting() -> None:
    made = generator.password({"length": 64})
    assert len(made) == 64
    assert made.isascii()
    assert made.isalnum()
    assert made != generator.password({"length": 64})


def test_a_random_key_has_its_length() -> None:
    made = generator.random_key({"bytes": 32, "encoding": "urlsafe"})
    assert len(base64.urlsafe_b64decode(made)) == 32
    assert (
        len(base64.b64decode(generator.random_key({"bytes": 48, "encoding": "base64"}), validate=True)) == 48
    )


def test_a_key_pair_belongs_together() -> None:
    made = json.loads(generator.keypair({}))
    private = serialization.load_pem_private_key(made["private"].encode(), password=None)
    assert private.public_key() == serialization.load_pem_public_key(made["public"].encode())


def test_the_generator_does_not_load_pulumi() -> None:
    probe = "import sys, jarvis.pki.issue; print('pulumi' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_the_generator_writes_its_result_alone() -> None:
    run = _issue('{"kind": "password", "length": 20, "rotation": 0}')
    assert (run.returncode, run.stderr, len(run.stdout)) == (0, "", 20)


@pytest.mark.parametrize(
    "request_text",
    [
        '{"kind": "certificate", "common_name": "one", "authority": "hunter2"}',
        '{"kind": "nothing", "key": "hunter2"}',
        "hunter2 is not JSON",
        '["hunter2"]',
        json.dumps(_request({"key": "hunter2"})),
    ],
)
def test_a_mistake_is_one_line_without_the_request(request_text: str) -> None:
    run = _issue(request_text)
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("error: jarvis.pki.issue: ")
    assert "hunter2" not in run.stderr


LEAF_RENEWAL = renewal(LEAF_DAYS)


def test_a_period_holds_for_its_whole_length_and_then_changes_once() -> None:
    first = date(2026, 1, 1)
    numbers = [period("etcd-peer", LEAF_RENEWAL, first + timedelta(days=n)) for n in range(2 * LEAF_RENEWAL)]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)
    assert numbers.count(sorted(set(numbers))[1]) == LEAF_RENEWAL


def test_items_are_not_all_renewed_in_one_week() -> None:
    def renewal(name: str) -> int:
        day = date(2026, 1, 1)
        return next(
            n
            for n in range(1, LEAF_RENEWAL + 1)
            if period(name, LEAF_RENEWAL, day + timedelta(days=n)) != period(name, LEAF_RENEWAL, day)
        )

    days = [renewal(f"item-{number}") for number in range(40)]
    assert max(days.count(day) for day in days) <= 4
    assert max(days) - min(days) > LEAF_RENEWAL // 2


def test_an_authority_outlives_its_use() -> None:
    """Made one period early, signing for one, trusted for one more, with leaves of a year at its end."""
    assert 2 * AUTHORITY_RENEWAL + LEAF_DAYS < generator.AUTHORITY_DAYS
    assert 3 * AUTHORITY_RENEWAL < generator.AUTHORITY_DAYS
    for days in (2, 3, 30, LEAF_DAYS):
        assert 0 < 2 * renewal(days) <= days
    # What deployed stacks have: another number would renew all their certificates at once.
    assert LEAF_RENEWAL == 182


def test_the_date_can_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JARVIS_TODAY", "2030-02-03")
    assert today() == date(2030, 2, 3)
    before = generation("etcd", 0)
    assert generation("etcd", 1) == before + 1
    monkeypatch.setenv("JARVIS_TODAY", "2033-02-02")
    assert generation("etcd", 0) == before + 1
    monkeypatch.delenv("JARVIS_TODAY")
    assert abs((today() - datetime.now(UTC).date()).days) <= 1
    assert "JARVIS_TODAY" not in os.environ
