"""The role as an operator would write it with pyinfra. JARVIS_ROLE names role.json."""

import json
import os
from pathlib import Path

from pyinfra.operations import apt, files, systemd

role = json.loads(Path(os.environ["JARVIS_ROLE"]).read_text(encoding="utf-8"))

apt.packages(name="packages", packages=role["packages"], update=False)
files.directory(name="folder", path=f"/etc/{role['name']}", mode="755")
for file, path in role["files"].items():
    files.put(name=f"file {file}", src=f"{role['folder']}/{file}", dest=path, mode="644")
for number, unit in enumerate(role["units"]):
    systemd.service(name=f"unit {unit}", service=unit, running=True, enabled=True, daemon_reload=number == 0)
