"""Records what the official plugin does in the scenarios: `record.py FOLDER [SCENARIO...]`.

FOLDER holds the official pulumi-resource-kubernetes. It needs the tools of `make tools`, writes
recordings/scenarios.jsonl, one line a scenario, and is to be run again when the plugin's version changes:

    .venv/bin/python tests/plugins/kubernetes/record.py ~/.pulumi/plugins/resource-kubernetes-v4.34.2
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RECORDING = HERE / "recordings" / "scenarios.jsonl"


def main(folder: Path, chosen: list[str]) -> None:
    """Record the chosen scenarios, or all; the others' lines stay."""
    sys.path[:0] = [str(ROOT), str(HERE)]
    from api_server import ApiServer
    from conversation import of_process
    from scenarios import SCENARIOS, Stage

    program = folder.resolve() / "pulumi-resource-kubernetes"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    lines = dict(map(_named, RECORDING.read_text().splitlines())) if RECORDING.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        server = ApiServer(Path(place), ROOT / ".jarvis" / "bin")
        try:
            server.start()
            for name in chosen or SCENARIOS:
                stage = Stage(server, name.replace("_", "-"), lambda: of_process(program, environment))
                SCENARIOS[name](stage)
                lines[name] = json.dumps({"scenario": name, "said": stage.said}, sort_keys=True)
                RECORDING.write_text("".join(lines[key] + "\n" for key in SCENARIOS if key in lines))
                print(f"{name}: {len(stage.said)} answers", flush=True)
        finally:
            server.stop()


def _named(line: str) -> tuple[str, str]:
    return json.loads(line)["scenario"], line


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
