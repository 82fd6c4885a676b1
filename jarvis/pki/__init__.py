"""Authorities, certificates, keys and passwords: made once, kept secret in the state, renewed by a diff.

The generator, ``python3 -m jarvis.pki.issue``, is part of this package and runs some thirty times in a first
deployment. Components import Pulumi, which takes half a second, and so are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jarvis.pki.authority import Authority, AuthorityArgs
    from jarvis.pki.certificate import Certificate, CertificateArgs
    from jarvis.pki.keypair import KeyPair, KeyPairArgs
    from jarvis.pki.password import Password, PasswordArgs
    from jarvis.pki.random_key import RandomKey, RandomKeyArgs

__all__ = [
    "Authority",
    "AuthorityArgs",
    "Certificate",
    "CertificateArgs",
    "KeyPair",
    "KeyPairArgs",
    "Password",
    "PasswordArgs",
    "RandomKey",
    "RandomKeyArgs",
]

_MODULES = {
    "Authority": "authority",
    "Certificate": "certificate",
    "KeyPair": "keypair",
    "Password": "password",
    "RandomKey": "random_key",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name.removesuffix("Args"))
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
