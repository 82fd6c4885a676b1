"""``python -m toolchain.workspace``: the steps of ``make up`` and ``make down`` that belong to the stack."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from toolchain.workspace.model import Workspace
from toolchain.workspace.serving import wait_until_served
from toolchain.workspace.stack import StackError, last_changes, pulumi, up, write_access


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m toolchain.workspace", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("env", help="write .jarvis/env")
    verbs.add_parser("up", help="deploy the stack dev, and say where the cloud is")
    verbs.add_parser("access", help="write kubeconfig and clouds.yaml of the deployed stack")
    verbs.add_parser("forget", help="remove the state of the lab's stack, whose servers are gone")
    verb = parser.parse_args(words).verb
    workspace = Workspace()
    try:
        workspace.prepare()
        if verb == "up":
            _up(workspace)
        elif verb == "access":
            write_access(workspace)
        elif verb == "forget":
            shutil.rmtree(workspace.folder)
            workspace.env_file.unlink(missing_ok=True)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        print("  the next `make up` goes on where this one ended", file=sys.stderr)
        return 1
    return 0


def _up(workspace: Workspace) -> None:
    started = time.monotonic()
    print("==> pulumi up of the stack dev", flush=True)
    seconds = up(workspace)
    outputs = json.loads(pulumi(workspace, "stack", "output", "--json", capture=True))
    names = ", ".join(f"{name} at {url}" for name, url in sorted(outputs["gateway"].items()))
    changes = last_changes(workspace)
    done = ", ".join(f"{count} {verb}" for verb, count in sorted(changes.items()))
    print(f"\nChanged: {done}." if done else "\nNothing was changed: all is as the configuration says.")
    wait_until_served(workspace.clouds, lambda line: print(line, flush=True))
    print(
        f"""The cloud is up (pulumi up: {seconds:.0f} s, in all {time.monotonic() - started:.0f} s).
  API server  {outputs["api"]}
  gateway     {names}

Try next:
  . {workspace.env_file.relative_to(workspace.root)}
  openstack --os-cloud jarvis token issue
  kubectl get nodes
  pulumi preview"""
    )


if __name__ == "__main__":
    sys.exit(main())
