"""What somebody changes on a server, or in Kubernetes, shows in one preview where it is; one up mends all."""

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


OPENSTACK = ("--namespace", "openstack")


def pods(cloud: Cloud, service: str) -> set[str]:
    selector = f"app.kubernetes.io/name={service},app.kubernetes.io/component=api"
    return {one["metadata"]["uid"] for one in cloud.objects("pods", *OPENSTACK, "--selector", selector)}


def test_what_somebody_changed_in_kubernetes_is_shown_and_taken_back(cloud: Cloud) -> None:
    """A key that Glance heeds, a variable of Keystone's pods, an annotation, and an object that is gone."""
    assert drift(cloud)[0] == 0
    before = pods(cloud, "glance")
    debug = json.dumps({"data": {"OS_DEFAULT__DEBUG": "true"}})
    cloud.kubectl(
        *("patch", "configmap", "glance", *OPENSTACK, "--type=merge", "--patch", debug),
        "--field-manager=somebody",
    )
    cloud.kubectl("set", "env", "deployment/keystone", *OPENSTACK, "OS_DEFAULT__DEBUG=true")
    cloud.kubectl("annotate", "service", "glance", *OPENSTACK, "somebody/was=here")
    cloud.kubectl("delete", "poddisruptionbudget", "glance", *OPENSTACK)
    findings = (
        "ConfigMap openstack/glance: data.OS_DEFAULT__DEBUG: added by somebody ",
        "Deployment openstack/keystone: spec.template.spec.containers[name=keystone].env[name="
        "OS_DEFAULT__DEBUG]: added by kubectl-set ",
        'Service openstack/glance: metadata.annotations["somebody/was"]: added by kubectl-annotate ',
        "PodDisruptionBudget openstack/glance: deleted",
    )
    expected = {
        "kubernetes:core/v1:ConfigMap glance",
        "kubernetes:apps/v1:Deployment keystone",
        "kubernetes:core/v1:Service glance",
        "kubernetes:policy/v1:PodDisruptionBudget glance",
        "command:local:Command glance-configmap-taken-back",
        "command:local:Command keystone-deployment-taken-back",
        "command:local:Command glance-service-taken-back",
    }
    preview = cloud.stack.run("preview", "--diff")
    assert preview.steps().keys() == expected
    status, text = drift(cloud, "--json")
    assert status == 2
    said = [f"{name}: {one}" for name, each in json.loads(text)["objects"].items() for one in each]
    for finding in findings:
        assert finding in told(preview)
        assert any(one.startswith(finding) for one in said), finding
    assert len(said) == len(findings)

    assert cloud.stack.up().steps().keys() == expected
    assert drift(cloud)[0] == 0
    [options] = cloud.objects("configmaps", *OPENSTACK, "--field-selector", "metadata.name=glance")
    assert "OS_DEFAULT__DEBUG" not in options["data"]
    [keystone] = cloud.objects("deployments", *OPENSTACK, "--field-selector", "metadata.name=keystone")
    [container] = keystone["spec"]["template"]["spec"]["containers"]
    assert "OS_DEFAULT__DEBUG" not in {one["name"] for one in container.get("env", [])}
    cloud.kubectl("get", "poddisruptionbudget", "glance", *OPENSTACK)
    # Its options were put right under pods that had seen nothing of it.
    assert pods(cloud, "glance") == before
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
