"""Pushes OCI layouts to one registry; run by ``jarvis.images.published`` with a request on stdin.

The request is a JSON object: ``endpoint`` (address:port), ``images`` (a list of objects with name, layout
and digest), and ``authority``, ``certificate``, ``key`` in PEM. The key goes into a folder that is the user's
alone and is removed again; skopeo reads it there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# One push reads and sends, the registry on the other side writes: two at once keep both busy.
_AT_ONCE = 2


def push(endpoint: str, image: dict[str, str], certificates: Path) -> str:
    """Pushes one image with its digest unchanged. Raises ``RuntimeError`` with skopeo's own words."""
    tag = image["digest"].removeprefix("sha256:")[:32]
    run = subprocess.run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--preserve-digests",
            "--retry-times=3",
            f"--dest-cert-dir={certificates}",
            f"oci:{image['layout']}",
            f"docker://{endpoint}/{image['name']}:{tag}",
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if run.returncode:
        raise RuntimeError(f"image {image['name']} was not pushed to {endpoint}: {run.stderr.strip()}")
    return image["name"]


def main() -> int:
    request: dict[str, Any] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="jarvis-push-") as folder:
        certificates = Path(folder)
        (certificates / "ca.crt").write_text(request["authority"])
        (certificates / "client.cert").write_text(request["certificate"])
        key = certificates / "client.key"
        key.touch(mode=0o600)
        key.write_text(request["key"])
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                pushes = [
                    pool.submit(push, request["endpoint"], each, certificates) for each in request["images"]
                ]
                names = [one.result() for one in pushes]
        except (RuntimeError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(" ".join(names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
