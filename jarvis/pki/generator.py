"""The generator of keys, certificates and passwords; ``python3 -m jarvis.pki.issue`` leads here.

It reads one JSON object from stdin and writes the result to stdout. ``kind`` names what is made, and the
other fields describe it (``jarvis.pki.request``); the functions below have their meaning. An error is one
line on stderr that never repeats the request, which may hold an authority's key.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from jarvis.pki.request import complete

AUTHORITY_DAYS = 3650
# A server whose clock is slow must accept a new certificate.
BACKDATED = timedelta(hours=1)
# RFC 5280, appendix A: ub-common-name.
MAX_COMMON_NAME = 64

Request = Mapping[str, Any]


def authority(request: Request) -> str:
    """A self-signed authority of ``common_name``: JSON with ``certificate`` and ``key`` in PEM.

    ``generation`` tells requests apart: another number makes a new authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(request["common_name"])
    certificate = (
        _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return json.dumps({"certificate": _pem(certificate), "key": _private_pem(key)})


def certificate(request: Request) -> str:
    """A leaf certificate signed by ``authority``: JSON as for an authority.

    ``authority`` is an object with ``common_name`` and ``key``. ``common_name`` and ``organizations`` name
    the subject, ``dns_names`` and ``addresses`` a ``server``. ``client`` and ``server`` are the extended key
    usages, and ``days`` the lifetime.

    Raises:
        ValueError: it is for neither client nor server, or for a server without name and address.
    """
    uses = [oid for field, oid in _USES.items() if request[field]]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in request["dns_names"]]
    names += [x509.IPAddress(ip_address(address)) for address in request["addresses"]]
    if not uses:
        raise ValueError(f"the certificate {request['common_name']} is neither a client's nor a server's")
    if request["server"] and not names:
        raise ValueError(f"the server certificate {request['common_name']} has neither DNS name nor address")
    issuer_key = serialization.load_pem_private_key(request["authority"]["key"].encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not one of an elliptic curve")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(request["common_name"], request["organizations"])
    issuer = _name(request["authority"]["common_name"])
    builder = (
        _builder(subject, issuer, key.public_key(), request["days"])
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = builder.sign(issuer_key, hashes.SHA256())
    return json.dumps({"certificate": _pem(leaf), "key": _private_pem(key)})


def keypair(request: Request) -> str:
    """A key pair of the curve P-256: JSON with ``private`` and ``public`` in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return json.dumps({"private": _private_pem(key), "public": public.decode()})


def password(request: Request) -> str:
    """``length`` letters and digits: nothing that a URL, a shell or an option file would have to quote."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(request["length"]))


def random_key(request: Request) -> str:
    """``bytes`` random bytes in base64, of the alphabet that ``encoding`` (base64 or urlsafe) names."""
    encode = {"base64": base64.b64encode, "urlsafe": base64.urlsafe_b64encode}[request["encoding"]]
    return encode(secrets.token_bytes(request["bytes"])).decode()


KINDS: dict[str, Callable[[Request], str]] = {
    "authority": authority,
    "certificate": certificate,
    "keypair": keypair,
    "password": password,
    "random-key": random_key,
}
_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


def _name(common_name: str, organizations: list[str] | None = None) -> x509.Name:
    if not 0 < len(common_name) <= MAX_COMMON_NAME:
        raise ValueError(f"the common name {common_name!r} is not of 1 to {MAX_COMMON_NAME} characters")
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations or []]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def generate(asked: Request) -> str:
    """The secret of a request, which may omit fields that were added later (``jarvis.pki.request``).

    Raises:
        KeyError: the request lacks a field, or its kind is unknown.
        ValueError: a field has a wrong value.
        TypeError: a field has a wrong type.
    """
    request = complete(asked)
    return KINDS[request["kind"]](request)


def main() -> int:
    """The program: exit status 1, with one line on stderr, for a request that is wrong."""
    try:
        result = generate(json.load(sys.stdin))
    except KeyError as error:
        print(f"error: jarvis.pki.issue: the request lacks or does not know {error}", file=sys.stderr)
        return 1
    except (ValueError, TypeError) as error:
        print(f"error: jarvis.pki.issue: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(result)
    return 0
