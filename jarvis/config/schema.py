"""The JSON schema of ``Pulumi.<stack>.yaml``, for editors: ``python -m jarvis.config.schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jarvis.config.environment import Environment

FILE = Path(__file__).with_name("environment.schema.json")


def stack_schema() -> dict[str, Any]:
    """The schema of a stack's configuration file: the environment below Pulumi's own keys."""
    environment = Environment.model_json_schema()
    definitions = environment.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack of Jarvis",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {"jarvis:environment": environment},
                "required": ["jarvis:environment"],
            }
        },
        "$defs": definitions,
    }


def schema_text() -> str:
    """The text of the schema file."""
    return json.dumps(stack_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
