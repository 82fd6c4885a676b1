"""Writes `tests/golden/openapi.json` as the pinned API server has it: `record_openapi.py`, or `make openapi`.

It needs the tools of `make tools`, and is to be run again when the version of Kubernetes changes, and when
the golden stacks have a kind of object that they did not have before.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from api_server import ApiServer

ROOT = Path(__file__).resolve().parents[3]


def golden_kinds() -> list[str]:
    """The kinds of all objects of the golden stacks, such as ``apps/v1 Deployment``."""
    stacks = yaml.safe_load((ROOT / "tests" / "golden" / "objects.yaml").read_text(encoding="utf-8"))
    return sorted({one.rpartition(" ")[0] for objects in stacks.values() for one in objects})


def recorded(server: ApiServer) -> str:
    """What the file should hold, by the running ``server``."""
    from tests.golden.openapi import part, path_of

    kinds = golden_kinds()
    versions = sorted({kind.partition(" ")[0] for kind in kinds})
    release = server.call("GET", "/version")["gitVersion"].removeprefix("v")
    return part([server.call("GET", path_of(version)) for version in versions], kinds, release)


def main() -> None:
    """Start the server and write the file."""
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    from api_server import ApiServer

    from tests.golden.openapi import DATA

    with tempfile.TemporaryDirectory() as place:
        server = ApiServer(Path(place), ROOT / ".jarvis" / "bin")
        try:
            server.start()
            DATA.write_text(recorded(server), encoding="utf-8")
        finally:
            server.stop()
    print(f"{DATA.relative_to(ROOT)}: {DATA.stat().st_size} bytes")


if __name__ == "__main__":
    main()
