"""SSH's keys: whether a text is the key that it is taken for."""

from __future__ import annotations

import base64
import binascii

_EXAMPLE = "'ssh-ed25519 AAAAC3…'"
_AGAIN = "copy the whole line that ssh-keyscan prints"
# Bytes of the kinds whose keys have one size: the lengths and the words of each (RFC 8709, 4; RFC 5656, 3.1).
_SIZES = {
    "ssh-ed25519": 51,
    "ecdsa-sha2-nistp256": 104,
    "ecdsa-sha2-nistp384": 136,
    "ecdsa-sha2-nistp521": 172,
}
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"


def host_key_mistake(line: str) -> str:
    """What is wrong with the public key ``line`` (``ssh-ed25519 AAAAC3…``); empty where nothing is.

    A public key begins with the name of its own kind (RFC 4253, 6.6).
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


def private_key_mistake(path: str, text: str) -> str:
    """Why nobody can log in by ``text``, which the file ``path`` has; empty where somebody can.

    An encrypted key would need its passphrase at each connection of each run, and nobody is there to ask.
    """
    if text.startswith(
        ("ssh-", "ecdsa-", "sk-", "-----BEGIN PUBLIC", "-----BEGIN RSA PUBLIC", "---- BEGIN SSH2")
    ):
        private = path.removesuffix(".pub")
        hint = private if private != path else "the file without .pub beside it"
        return f"{path} is a public key; the private one is {hint}"
    if text.startswith("PuTTY-User-Key-File"):
        return f"{path} is a key of PuTTY; write it as OpenSSH's: puttygen {path} -O private-openssh -o FILE"
    if "PRIVATE KEY-----" not in text:
        return f"{path} is not a private key, which begins with {_OPENSSH}"
    if _encrypted(text):
        return (
            f"{path} is encrypted, and nobody is asked for its passphrase: leave this field out and type"
            f" ssh-add {path}, or take the passphrase away (ssh-keygen -p -f {path})"
        )
    return ""


def _encrypted(text: str) -> bool:
    """PEM says so in a line, OpenSSH's own form by the cipher after its magic (PROTOCOL.key of OpenSSH)."""
    if "BEGIN ENCRYPTED PRIVATE KEY" in text or "Proc-Type: 4,ENCRYPTED" in text:
        return True
    if _OPENSSH not in text:
        return False
    body = text.partition(_OPENSSH)[2].partition("-----END")[0]
    try:
        raw = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    cipher, _ = _word(raw.removeprefix(_MAGIC))
    return raw.startswith(_MAGIC) and cipher != b"none"


def _word(raw: bytes) -> tuple[bytes, bytes]:
    """The first string of ``raw`` (RFC 4251, 5: its length in four bytes before it), and the rest."""
    end = 4 + int.from_bytes(raw[:4], "big")
    return raw[4:end], raw[end:]
