"""What somebody changes on a server, in Kubernetes or in Keystone shows in one preview, where it is made; one
up mends all."""

from __future__ import annotations

import json
import re
import sys

from deployment import OPENSTACK, Cloud, Run

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
    # It still forwards: a server that does not would cut Keystone, which is asked too.
    ("echo 2 >/proc/sys/net/ipv4/ip_forward", "{}-base", "net.ipv4.ip_forward is 2, not 1"),
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
    assert drift(cloud) == (
        0,
        f"all is as it was deployed: {len(cloud.servers)} servers, Kubernetes, Keystone\n",
    )

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


NAMESPACE = ("--namespace", "openstack")


def test_what_somebody_changed_in_kubernetes_is_shown_and_taken_back(cloud: Cloud) -> None:
    """A key that Glance heeds, a variable of Keystone's pods, an annotation, and an object that is gone."""
    assert drift(cloud)[0] == 0
    before = cloud.pods("glance")
    debug = json.dumps({"data": {"OS_DEFAULT__DEBUG": "true"}})
    cloud.kubectl(
        *("patch", "configmap", "glance", *NAMESPACE, "--type=merge", "--patch", debug),
        "--field-manager=somebody",
    )
    cloud.kubectl("set", "env", "deployment/keystone", *NAMESPACE, "OS_DEFAULT__DEBUG=true")
    cloud.kubectl("annotate", "service", "glance", *NAMESPACE, "somebody/was=here")
    cloud.kubectl("delete", "poddisruptionbudget", "glance", *NAMESPACE)
    findings = (
        "Kubernetes: ConfigMap openstack/glance: data.OS_DEFAULT__DEBUG: added by somebody ",
        "Kubernetes: Deployment openstack/keystone: spec.template.spec.containers[name=keystone].env[name="
        "OS_DEFAULT__DEBUG]: added by kubectl-set ",
        'Kubernetes: Service openstack/glance: metadata.annotations["somebody/was"]: added by '
        "kubectl-annotate ",
        "Kubernetes: PodDisruptionBudget openstack/glance: deleted",
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
    found = json.loads(text)["found"]["Kubernetes"]
    said = [f"Kubernetes: {name}: {one}" for name, each in found.items() for one in each]
    for finding in findings:
        assert finding in told(preview)
        assert any(one.startswith(finding) for one in said), finding
    assert len(said) == len(findings)

    assert cloud.stack.up().steps().keys() == expected
    assert drift(cloud)[0] == 0
    [options] = cloud.objects("configmaps", *NAMESPACE, "--field-selector", "metadata.name=glance")
    assert "OS_DEFAULT__DEBUG" not in options["data"]
    [keystone] = cloud.objects("deployments", *NAMESPACE, "--field-selector", "metadata.name=keystone")
    [container] = keystone["spec"]["template"]["spec"]["containers"]
    assert "OS_DEFAULT__DEBUG" not in {one["name"] for one in container.get("env", [])}
    cloud.kubectl("get", "poddisruptionbudget", "glance", *NAMESPACE)
    # Its options were put right under pods that had seen nothing of it.
    assert cloud.pods("glance") == before
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}


JOB = "kubernetes:batch/v1:Job"
IMAGE_JOB, IDENTITY_JOB, ADMIN_JOB = "glance-register", "keystone-register", "keystone-bootstrap"


def endpoint(cloud: Cloud, service: str, interface: str) -> str:
    """The id of an endpoint."""
    [found] = cloud.shown("endpoint", "list", "--service", service, "--interface", interface)
    return str(found["ID"])


def registered_limit(cloud: Cloud, name: str) -> str:
    """The id of a limit that every project has."""
    found = cloud.shown("registered", "limit", "list", "--service", "glance")
    return next(str(one["ID"]) for one in found if one["Resource Name"] == name)


def test_what_somebody_changed_in_keystone_is_shown_and_mended(cloud: Cloud) -> None:
    # What operators add is theirs.
    cloud.tool(*OPENSTACK, "user", "create", "somebody")
    cloud.tool(*OPENSTACK, "service", "create", "--name", "pictures", "image")
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}

    public, internal = endpoint(cloud, "glance", "public"), endpoint(cloud, "glance", "internal")
    changes = (
        (
            ("endpoint", "set", "--url", "https://192.0.2.7", public),
            IMAGE_JOB,
            "url is https://192.0.2.7, not ",
        ),
        (("endpoint", "delete", internal), IMAGE_JOB, "endpoint internal of glance: missing"),
        (
            ("registered", "limit", "delete", registered_limit(cloud, "image_size_total")),
            IMAGE_JOB,
            "limit image_size_total of glance: missing",
        ),
        (
            ("role", "remove", "--user", "glance", "--project", "service", "service"),
            IMAGE_JOB,
            "role service of user glance on project service: missing",
        ),
        (("user", "set", "--disable", "glance"), IMAGE_JOB, "user glance: disabled"),
        (("service", "set", "--disable", "glance"), IMAGE_JOB, "service glance: disabled"),
        (
            ("endpoint", "set", "--disable", endpoint(cloud, "keystone", "admin")),
            IDENTITY_JOB,
            "endpoint admin of keystone: disabled",
        ),
        (
            ("role", "remove", "--user", "admin", "--system", "all", "admin"),
            ADMIN_JOB,
            "role admin of user admin on the system: missing",
        ),
    )
    for words, _, _ in changes:
        cloud.tool(*OPENSTACK, *words)
    expected = {
        f"{JOB} {IMAGE_JOB}": "replace",
        f"{JOB} {ADMIN_JOB}": "replace",
        f"{JOB} {IDENTITY_JOB}": "create",
        f"kubernetes:core/v1:ConfigMap {IDENTITY_JOB}": "create",
        f"jarvis:openstack:Mended {IDENTITY_JOB}": "create",
    }
    preview = cloud.stack.run("preview", "--diff")
    steps = {label: "replace" if "replace" in step else step for label, step in preview.steps().items()}
    assert steps == expected
    for words, job, finding in changes:
        lines = [line for line in told(preview).splitlines() if line.startswith(f"Keystone: {job}: ")]
        assert any(finding in line for line in lines), words
        assert finding in preview.output.partition("Diagnostics:")[0], words
    status, text = drift(cloud, "--json")
    assert status == 2
    assert json.loads(text)["found"]["Keystone"].keys() == {IMAGE_JOB, IDENTITY_JOB, ADMIN_JOB}

    cloud.stack.up()
    assert drift(cloud)[0] == 0
    assert cloud.stack.run("preview", "--expect-no-changes").steps() == {}
    # Glance's account reads its limits again, and users find its endpoint.
    cloud.tool(*OPENSTACK, "image", "list")
    cloud.tool(*OPENSTACK, "service", "delete", "pictures")
    cloud.tool(*OPENSTACK, "user", "delete", "somebody")


def test_an_administrator_with_another_password_gets_the_one_of_the_state(cloud: Cloud) -> None:
    cloud.tool(*OPENSTACK, "user", "set", "--password", "somebodys-own-password", "admin")
    preview = cloud.stack.run("preview", "--diff")
    assert f"Keystone: {ADMIN_JOB}: user admin: not let in: " in told(preview)
    assert "Keystone: what Jarvis made there was not looked at" in told(preview)
    assert list(preview.steps()) == [f"{JOB} {ADMIN_JOB}"]
    assert drift(cloud)[0] == 1
    cloud.stack.up()
    cloud.tool(*OPENSTACK, "token", "issue")
    assert drift(cloud)[0] == 0
