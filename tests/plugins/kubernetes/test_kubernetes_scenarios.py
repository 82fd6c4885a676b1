"""The adapter in every recorded scenario: it answers as the official plugin did, on a real API server."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from conversation import of_adapter
from scenarios import SCENARIOS, Stage

RECORDED = {
    line["scenario"]: line["said"]
    for line in map(
        json.loads,
        (Path(__file__).parent / "recordings" / "scenarios.jsonl").read_text().splitlines(),
    )
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(
    name: str, api_server: ApiServer, pulumi_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{pulumi_tools}{os.pathsep}{os.environ['PATH']}")
    stage = Stage(api_server, name.replace("_", "-"), of_adapter)
    SCENARIOS[name](stage)
    assert [entry.get("asked") for entry in stage.said] == [entry.get("asked") for entry in RECORDED[name]]
    for mine, official in zip(stage.said, RECORDED[name], strict=True):
        assert simple(mine) == simple(official)


def simple(entry: dict[str, Any]) -> dict[str, Any]:
    """An answer without what the common base of the adapters says in another form."""
    out: dict[str, Any] = json.loads(json.dumps(entry))
    answer = out.get("answer", {})
    if out.get("asked") == "Configure":
        out["answer"] = {"supportsPreview": answer.get("supportsPreview")}
    elif answer:
        # An empty mapping is as good as none.
        out["answer"] = answer = {key: value for key, value in answer.items() if value != {}}
    if out.get("asked", "").startswith("Diff"):
        # Top-level names instead of paths, and for a provider each change once more in detail.
        answer["replaces"] = sorted({re.split(r"[.\[]", path)[0] for path in answer.get("replaces", [])})
        if out["asked"].startswith("DiffConfig"):
            answer.pop("detailedDiff", None)
            answer.pop("hasDetailedDiff", None)
        else:
            answer.pop("diffs", None)
    return out
