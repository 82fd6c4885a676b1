"""Pushes OCI layouts to one registry; run by ``jarvis.images.published`` with a request on stdin.

The request is a JSON object: ``endpoint`` (address:port), ``images`` (digests by name), and ``authority``,
``certificate``, ``key`` in PEM. Layouts are found by the list of artifacts: their paths differ between
machines, and so are no part of the request. The key is written to a private folder for skopeo, and removed
again.

Only the standard library is imported: the program runs once for each server and must start fast.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# A push reads and sends while the registry writes: two at once keep both sides busy.
_AT_ONCE = 2
# Seconds for one image. 60 MB take a second in the lab; the limit is for slow lines, and ends a hanging
# connection.
_TIMEOUT_SECONDS = 900
_PROJECT = Path(__file__).resolve().parents[2]
_AGAIN = "build it again with: make artifacts"


class PushError(Exception):
    """An image could not be pushed. The message names image, registry and reason."""


def layouts(images: Mapping[str, str], file: Path) -> dict[str, str]:
    """Folders of OCI layouts, by image name.

    Args:
        images: digests by name.
        file: the list of artifacts.

    Raises:
        PushError: the list cannot be read, or lacks an image at its digest.
    """
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["images"]
    except (OSError, ValueError, KeyError) as error:
        raise PushError(f"{file} is not a list of artifacts ({error}); {_AGAIN}") from None
    found = {}
    for name, digest in images.items():
        if listed.get(name, {}).get("digest") != digest:
            raise PushError(f"image {name}: {file} does not have {digest}; {_AGAIN}")
        found[name] = str(listed[name]["path"])
    return found


def push(endpoint: str, name: str, digest: str, layout: str, certificates: Path) -> None:
    """Pushes one image with its digest unchanged. Layers that the registry has are not sent again.

    The tag is derived from the digest. Without a tag the registry's garbage collection would take the image.

    Args:
        endpoint: address:port of the registry.
        name: name of the image.
        digest: digest of its manifest.
        layout: folder of its OCI layout.
        certificates: folder with ``ca.crt``, ``client.cert`` and ``client.key``.

    Raises:
        PushError: skopeo is missing, failed, or took longer than ``_TIMEOUT_SECONDS``.
    """
    tag = digest.removeprefix("sha256:")[:32]
    try:
        done = subprocess.run(
            [
                *("skopeo", "copy", "--quiet", "--preserve-digests", "--retry-times=3"),
                f"--dest-cert-dir={certificates}",
                f"oci:{layout}",
                f"docker://{endpoint}/{name}:{tag}",
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise PushError("skopeo is not installed; type: make toolchain") from None
    except subprocess.TimeoutExpired:
        raise PushError(f"image {name}: not pushed to {endpoint} within {_TIMEOUT_SECONDS} s") from None
    if done.returncode:
        raise PushError(f"image {name}: not pushed to {endpoint}: {done.stderr.strip()}")


def push_all(request: Mapping[str, Any], artifacts: Path) -> None:
    """Pushes all images of a request, ``_AT_ONCE`` at a time.

    Args:
        request: the request.
        artifacts: path of the list of artifacts.

    Raises:
        PushError: an image could not be pushed; of several, the first.
    """
    images: dict[str, str] = request["images"]
    found = layouts(images, artifacts)
    with tempfile.TemporaryDirectory(prefix="jarvis-push-") as folder:
        certificates = Path(folder)
        (certificates / "ca.crt").write_text(request["authority"], encoding="utf-8")
        (certificates / "client.cert").write_text(request["certificate"], encoding="utf-8")
        key = certificates / "client.key"
        key.touch(mode=0o600)
        key.write_text(request["key"], encoding="utf-8")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pushes = [
                pool.submit(push, request["endpoint"], name, digest, found[name], certificates)
                for name, digest in images.items()
            ]
            for each in pushes:
                each.result()


def main() -> int:
    """The program; returns its exit status."""
    request = json.load(sys.stdin)
    artifacts = os.environ.get("JARVIS_ARTIFACTS")
    try:
        push_all(request, Path(artifacts) if artifacts else _PROJECT / ".jarvis" / "artifacts.json")
    except PushError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(" ".join(sorted(request["images"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
