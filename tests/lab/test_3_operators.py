"""What the operators' kubeconfig may do, how the right is taken from it, and the way in without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deployment import LIMIT_SECONDS, ROOT, Cloud, wait_until

BINDING = ("clusterrolebinding", "jarvis:operators")


def test_who_holds_the_kubeconfig_is_an_operator(cloud: Cloud) -> None:
    told = cloud.kubectl(
        "auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}"
    )
    assert told == 'jarvis:operator ["jarvis:operators","system:authenticated"]'
    assert cloud.kubectl("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"


def test_the_right_can_be_taken_and_the_state_is_a_way_in(cloud: Cloud, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    made = subprocess.run(
        [sys.executable, "-m", "jarvis.kubernetes.break_glass", str(file)],
        input=cloud.stack.query("stack", "export", "--show-secrets"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert made.returncode == 0, made.stderr
    way_in = ("--kubeconfig", str(file))
    whose = cloud.kubectl(*way_in, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert whose == "jarvis:break-glass"

    cloud.kubectl("delete", *BINDING)
    try:
        wait_until(
            "no operator may do anything",
            lambda: "Forbidden" in cloud.tool("kubectl", "get", "nodes", check=False).stderr,
            60,
        )
        assert cloud.kubectl(*way_in, "get", "nodes", "-o", "name")
    finally:
        # The program has its own way in.
        run = cloud.stack.up()
    assert "kubernetes-access-operators" in " ".join(run.steps())
    wait_until(
        "operators may again", lambda: cloud.tool("kubectl", "get", "nodes", check=False).returncode == 0, 60
    )
