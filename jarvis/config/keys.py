"""Checks of SSH host keys."""

from __future__ import annotations

import base64
import binascii

_EXAMPLE = "'ssh-ed25519 AAAAC3…'"
_AGAIN = "copy the whole line that ssh-keyscan prints"
# Bytes of keys whose kind has one size: length and content of each string (RFC 8709, 4; RFC 5656, 3.1).
_SIZES = {
    "ssh-ed25519": 51,
    "ecdsa-sha2-nistp256": 104,
    "ecdsa-sha2-nistp384": 136,
    "ecdsa-sha2-nistp521": 172,
}


def host_key_mistake(line: str) -> str:
    """What is wrong with a public host key; empty where nothing is.

    A public key begins with the name of its own kind (RFC 4253, 6.6).

    Args:
        line: kind and key, such as ``ssh-ed25519 AAAAC3…``.
    """
    kind, _, text = line.partition(" ")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return f"the key after {kind} is not base64, such as {_EXAMPLE}: {_AGAIN}"
    name, rest = _word(raw)
    if name != kind.encode():
        return f"the key after {kind} is not one of that kind: {_AGAIN}"
    if not rest or len(raw) != _SIZES.get(kind, len(raw)):
        return f"the key after {kind} has {len(raw)} bytes, which is not the size of such a key: {_AGAIN}"
    return ""


def _word(raw: bytes) -> tuple[bytes, bytes]:
    """The first string of ``raw`` (RFC 4251, 5: length in four bytes, then the bytes), and the rest."""
    end = 4 + int.from_bytes(raw[:4], "big")
    return raw[4:end], raw[end:]
