"""How fast the command plugin is: `python tests/plugins/command/bench_command.py [COMMANDS]`.

A stack of so many (100) remote commands against an sshd on loopback: seconds to create them, to preview
them unchanged, to run `up` unchanged, to destroy; SSH connections made; seconds from the plugin's start to
its port.
Printed as JSON. With `JARVIS_PLUGINS=official` the plugin installed for Pulumi is measured instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent), str(Path(__file__).parents[1])]

from pulumi_cli import TOOLS, Stack  # noqa: E402
from ssh_server import start_server  # noqa: E402

PROGRAM = """
import pulumi_command as command
conn = command.remote.ConnectionArgs(**connection)
for number in range(count):
    command.remote.Command(f"c{number}", connection=conn, create=f"cat > {folder}/{number}", stdin=f"file {number}",
        delete=f"rm -f {folder}/{number}", add_previous_output_in_env=False)
"""  # noqa: E501 (the program is data)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    tools = TOOLS if (TOOLS / "pulumi").exists() else Path(shutil.which("pulumi") or "").parent
    figures: dict[str, float | int | str] = {"commands": count}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "out").mkdir()
        server = start_server(folder / "sshd")
        try:
            stack = Stack(folder / "stack", tools)
            if os.environ.get("JARVIS_PLUGINS") == "official":
                shutil.rmtree(folder / "stack" / "launchers")
                stack.environment["PULUMI_HOME"] = os.environ.get("PULUMI_HOME", str(Path.home() / ".pulumi"))
            else:
                figures["plugin_start_seconds"] = plugin_start(stack)
            variables = {"connection": server.inputs(), "folder": str(folder / "out"), "count": count}
            stack.write(PROGRAM, variables)
            for name, run in (
                ("create", lambda: stack.up()),
                ("preview_unchanged", lambda: stack.preview("--expect-no-changes")),
                ("up_unchanged", lambda: stack.up("--expect-no-changes")),
                ("destroy", lambda: stack.destroy()),
            ):
                before, logins = time.monotonic(), server.logins()
                run()
                figures[f"{name}_seconds"] = round(time.monotonic() - before, 2)
                figures[f"{name}_connections"] = server.logins() - logins
        finally:
            server.stop()
    print(json.dumps(figures, indent=2))


def plugin_start(stack: Stack) -> float:
    """Seconds from starting the plugin to the port it prints."""
    program = stack.folder / "launchers" / "pulumi-resource-command"
    before = time.monotonic()
    process = subprocess.Popen([str(program)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        return round(time.monotonic() - before, 3)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
