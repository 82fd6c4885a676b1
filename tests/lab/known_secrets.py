"""The secrets of a deployment, and where they turn up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SIGNATURE = "4dabf18193072939515e22adb298388d"
# Shorter texts, such as a user's name in a Secret, turn up anywhere.
SHORTEST = 16


# How a key of the curve P-256 begins, and in which lines what is secret of it stands: the third is of its
# public key alone, and a certificate whose subject has the length for it has the same line (RFC 5915, 5958).
_P256, _P256_SECRET_LINES = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg", 2


def key_lines(text: str) -> Iterator[str]:
    """The secret lines of the private keys in ``text``, a PEM file or one in a JSON or a bundle."""
    lines: list[str] | None = None
    for line in [*text.replace("\\n", "\n").split("\n"), "the end of any PRIVATE KEY-----"]:
        line = line.strip().lstrip("|").strip()
        if "PRIVATE KEY-----" in line:
            if lines:
                secret = lines[:_P256_SECRET_LINES] if lines[0].startswith(_P256) else lines
                yield from (each for each in secret if len(each) >= 40)
            lines = [] if "BEGIN" in line else None
        elif lines is not None:
            lines.append(line)


def plaintexts(value: Any) -> Iterator[Any]:
    """Each secret below ``value``, of a state exported with its secrets shown."""
    if isinstance(value, Mapping):
        if SIGNATURE in value and "plaintext" in value:
            yield json.loads(value["plaintext"])
            return
        for each in value.values():
            yield from plaintexts(each)
    elif isinstance(value, list):
        for each in value:
            yield from plaintexts(each)


def texts(value: Any) -> Iterator[str]:
    """Each text below ``value``."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def known_secrets(state: Iterable[Mapping[str, Any]]) -> set[str]:
    """What must be seen nowhere: private keys line by line, passwords, symmetric keys, and the base64 of each
    that Kubernetes has in a Secret. Certificates and what else stands beside them are public."""
    found: set[str] = set()
    for resource in state:
        kind = resource["type"]
        for value in (text for plain in plaintexts(resource) for text in texts(plain)):
            found.update(key_lines(value))
            if kind == "kubernetes:core/v1:Secret" and len(value) >= SHORTEST and "\n" not in value:
                decoded = base64.b64decode(value, validate=False)
                if b"CERTIFICATE-----" not in decoded or b"PRIVATE KEY" in decoded:
                    found.add(value)
                    found.update(key_lines(decoded.decode(errors="replace")))
        if kind == "command:local:Command":
            for value in plaintexts(resource.get("outputs", {}).get("stdout")):
                if not value.startswith("{") and len(value) >= SHORTEST:
                    found |= {value, base64.b64encode(value.encode()).decode()}
    return found


def seen(secrets: Iterable[str], text: str) -> list[str]:
    """Those of ``secrets`` that stand in ``text``, by their first letters only."""
    return [f"{secret[:6]}… ({len(secret)} characters)" for secret in secrets if secret in text]


def seen_in_files(secrets: Iterable[str], folder: Path) -> dict[str, list[str]]:
    """The files below ``folder`` in which any of ``secrets`` stands, with those."""
    known = list(secrets)
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            hits = seen(known, path.read_bytes().decode(errors="replace"))
            if hits:
                found[str(path.relative_to(folder))] = hits
    return found
