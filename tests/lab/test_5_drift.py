"""What somebody changes on a server shows in one preview, on the resource of its role; one up mends all."""

from __future__ import annotations

import json
import re
import sys

from deployment import Cloud, Run

COMMAND = "command:remote:Command"
# Whose roles are mended here, and which must not be restarted by that.
UNITS = (
    "etcd.service kubelet.service jarvis-registry.service rabbitmq-server.service"
    " kube-controller-manager.service jarvis-link.service"
)
RULE = "tcp dport 9999 accept"
# Of each kind one: what is done, of which resource that is, and what is said.
CHANGES = (
    ("echo '# edited' >>/etc/kubernetes/kubelet/config.yaml", "{}-node-kubelet", "config.yaml: edited "),
    ("rm /etc/registry/authority.crt", "registry-{}", "/etc/registry/authority.crt: removed"),
    (
        "chmod 0755 /etc/registry/server.key",
        "registry-{}",
        "/etc/registry/server.key: mode 0755 and not 0400",
    ),
    ("chmod 0777 /var/lib/etcd", "etcd-{}", "/var/lib/etcd: mode 0777 and not 0"),
    ("systemctl disable --quiet etcd-defrag.timer", "etcd-{}", "etcd-defrag.timer: disabled"),
    ("systemctl stop kube-scheduler", "{}-control-plane-controllers", "kube-scheduler.service: stopped "),
    ("systemctl mask --quiet rabbitmq-server", "queue-{}", "rabbitmq-server.service: masked"),
    ("echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables", "{}-base", "iptables is 0, not 1"),
    (f"nft insert rule inet jarvis input {RULE}", "{}-base", f"somebody's rule: {RULE}"),
)


def drift(cloud: Cloud, *words: str) -> tuple[int, str]:
    """What ``python -m jarvis.drift`` says of the deployment."""
    run = cloud.tool(
        sys.executable, "-m", "jarvis.drift", "--stack", cloud.stack.workspace.stack, *words, check=False
    )
    return run.returncode, run.stdout + run.stderr


def told(run: Run) -> str:
    """What a run warned of."""
    events = [event["diagnosticEvent"] for event in run.events if "diagnosticEvent" in event]
    return "\n".join(each["message"] for each in events if each["severity"] == "warning")


def test_what_somebody_changed_is_shown_and_mended(cloud: Cloud) -> None:
    server = cloud.servers[1]
    since = f"systemctl show --property Id,MainPID,ActiveEnterTimestamp {UNITS}"
    before = cloud.ssh(server, since)
    assert drift(cloud) == (0, f"all is as it was deployed: {len(cloud.servers)} servers\n")

    cloud.ssh(server, " && ".join(change for change, _, _ in CHANGES))
    expected = {f"{COMMAND} {resource.format(server)}": "update" for _, resource, _ in CHANGES}
    preview = cloud.stack.run("preview", "--diff")
    assert preview.steps() == expected
    shown = [line for line in preview.output.splitlines() if re.search(r"seen \d+: ", line)]
    for change, _, finding in CHANGES:
        assert finding in told(preview), change
        assert any(finding in line for line in shown), change
    status, text = drift(cloud, "--json")
    assert status == 2
    assert json.loads(text)["found"].keys() >= {server}

    assert cloud.stack.up().steps() == expected
    assert drift(cloud)[0] == 0
    assert RULE not in cloud.ssh(server, "nft list table inet jarvis")
    cloud.ssh(
        server, "systemctl is-active kube-scheduler && systemctl is-enabled etcd-defrag.timer rabbitmq-server"
    )
    # A file, rights and a unit's enablement were put right under units that had seen nothing of it.
    assert cloud.ssh(server, since) == before
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
