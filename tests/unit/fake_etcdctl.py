"""Plays etcdctl for the tests of etcd.sh. Its cluster is the JSON file that FAKE_ETCD names:

{"members": [{"id", "name", "peer", "client", "learner"}], "down": [client URL], "refuse": {command: [texts]}}

Each text of ``refuse`` makes one call of that command fail. What is asked for is kept under "calls".
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> int:
    file = Path(os.environ["FAKE_ETCD"])
    state = json.loads(file.read_text())
    options = dict(w.removeprefix("--").partition("=")[::2] for w in sys.argv[1:] if w.startswith("--"))
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    endpoints = options.get("endpoints", "").split(",")
    if "ETCDCTL_ENDPOINTS" in os.environ:  # as the real one does
        print("Error: conflicting environment variable is shadowed by corresponding flag", file=sys.stderr)
        return 1
    command = " ".join(words[:2])
    state.setdefault("calls", []).append(" ".join(words))
    refusals = state.get("refuse", {}).get(command, [])
    serving = {m["client"] for m in state["members"] if m["name"]} - set(state.get("down", []))
    status = 0
    if refusals:
        print(refusals.pop(0), file=sys.stderr)
        status = 1
    elif not serving.intersection(endpoints):
        print("Error: context deadline exceeded", file=sys.stderr)
        status = 1
    elif command == "member list":
        for m in state["members"]:
            started = "started" if m["name"] else "unstarted"
            learner = str(m["learner"]).lower()
            print(
                ", ".join([m["id"], started, m["name"], m["peer"], m["client"] if m["name"] else "", learner])
            )
    elif command == "member add":
        state["members"].append(
            {
                "id": "new",
                "name": "",
                "peer": options["peer-urls"],
                "client": "",
                "learner": "learner" in options,
            }
        )
    elif command == "member remove":
        state["members"] = [m for m in state["members"] if m["id"] != words[2]]
    elif command == "member promote":
        for m in state["members"]:
            m["learner"] = m["learner"] and m["id"] != words[2]
    elif command == "endpoint status":
        print(f'"DBSize" : {state["size"]}\n"DBSizeInUse" : {state["used"]}')
    file.write_text(json.dumps(state))
    return status


if __name__ == "__main__":
    sys.exit(main())
