"""The cloud, looked at from outside by tools that are not ours."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from deployment import LIMIT_SECONDS, Cloud

KUBERNETES = "kubernetes.default.svc.cluster.local"
KUBERNETES_ADDRESS = "10.96.0.1"
# What tempest may use of this machine's cores; the servers are on the same ones.
WORKERS = 2


def test_all_etcd_members_are_healthy(cloud: Cloud) -> None:
    for server in cloud.servers:
        assert len(cloud.healthy_members(server)) == 3


def test_etcd_lets_nobody_in_without_a_certificate(cloud: Cloud) -> None:
    command = "etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/authority.crt get x"
    assert cloud.attempt_ssh(cloud.servers[0], command).returncode != 0


def test_three_nodes_are_ready(cloud: Cloud) -> None:
    assert sorted(cloud.ready_nodes()) == cloud.servers


def test_all_pods_run(cloud: Cloud) -> None:
    pods = cloud.objects("pods", "--all-namespaces")
    phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in pods}
    assert {name: phase for name, phase in phases.items() if phase not in ("Running", "Succeeded")} == {}
    for service in ("keystone", "glance"):
        api = {"app.kubernetes.io/name": service, "app.kubernetes.io/component": "api"}.items()
        nodes = [pod["spec"]["nodeName"] for pod in pods if api <= pod["metadata"]["labels"].items()]
        assert len(set(nodes)) == len(nodes) == 2, service


def test_no_unit_has_failed(cloud: Cloud) -> None:
    command = "systemctl list-units --failed --plain --no-legend"
    assert dict(cloud.each(command)) == dict.fromkeys(cloud.servers, "")


def test_the_processor_is_for_units_before_it_is_for_pods(cloud: Cloud) -> None:
    """As the kernel has it, on cgroup v1 or v2: else pods that are busy starve what they live on."""
    command = "cd /sys/fs/cgroup; cat {cpu/,}{system,kubepods}.slice/cpu.{shares,weight} 2>/dev/null; true"
    for server, text in cloud.each(command):
        units, pods = map(int, text.split())
        assert units > pods, server


def test_a_servers_own_name_leads_to_its_address_alone(cloud: Cloud) -> None:
    """Also beside the installer's line 127.0.1.1, and for whoever takes all addresses, or the first."""
    for fact in cloud.facts["servers"]:
        said = cloud.ssh(fact["name"], f"getent ahosts {fact['name']}; hostname --fqdn")
        *found, full = said.splitlines()
        assert {line.split()[0] for line in found} == {fact["address"]}
        assert full == f"{fact['name']}.lab.internal"


def test_the_cluster_names_are_known_on_servers(cloud: Cloud) -> None:
    for server, text in cloud.each(f"getent ahostsv4 {KUBERNETES}"):
        assert KUBERNETES_ADDRESS in text.split(), server
    for server, text in cloud.each("getent ahostsv4 keystone.openstack.svc.cluster.local"):
        assert text.strip(), server


def test_the_cluster_names_are_known_in_a_pod(cloud: Cloud) -> None:
    program = f"import socket; print(socket.gethostbyname('{KUBERNETES}'))"
    for pod in keystone_pods(cloud):
        found = cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", program)
        assert found.strip() == KUBERNETES_ADDRESS


def keystone_pods(cloud: Cloud) -> list[str]:
    """The pods that answer for Keystone."""
    pods = cloud.objects(
        "pods", "-n", "openstack", "-l", "app.kubernetes.io/name=keystone,app.kubernetes.io/component=api"
    )
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]


def test_a_token_through_the_gateway(cloud: Cloud) -> None:
    command = ("openstack", "--os-cloud", "jarvis")
    token = json.loads(cloud.tool(*command, "token", "issue", "-f", "json").stdout)
    assert re.fullmatch(r"gAAAA[\w-]{100,}={0,2}", token["id"])
    users = json.loads(cloud.tool(*command, "user", "list", "-f", "json").stdout)
    assert sorted(user["Name"] for user in users) == ["admin", "glance"]


def test_the_gateway_is_not_believed_without_its_authority(cloud: Cloud) -> None:
    refused = cloud.tool(
        "openstack", "--os-cloud", "jarvis", "--os-cacert", "/etc/ssl/certs/ca-certificates.crt",
        "token", "issue", check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "certificate verify failed" in (refused.stdout + refused.stderr).lower()


def test_nobody_is_served_by_the_api_without_a_name(cloud: Cloud) -> None:
    for path in ("/api", "/healthz", "/version"):
        answer = subprocess.run(
            ["curl", "--silent", "--insecure", "--max-time", "20", "--output", "/dev/null", "--write-out",
             "%{http_code}", f"https://{cloud.virtual_address}:6443{path}"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert answer.stdout == "401", path


@pytest.fixture(scope="module")
def tempest(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of tempest that knows the cloud."""
    folder = tmp_path_factory.mktemp("tempest") / "workspace"
    cloud.tool("tempest", "init", "--workspace-path", str(folder.parent / "workspaces.yaml"), str(folder))
    known = yaml.safe_load(cloud.stack.workspace.clouds.read_text())["clouds"]["jarvis"]
    auth = known["auth"]
    config = folder / "etc" / "tempest.conf"
    config.touch(mode=0o600)
    config.write_text(f"""\
[DEFAULT]
log_file = tempest.log
[oslo_concurrency]
lock_path = {folder}/lock
[auth]
admin_username = {auth["username"]}
admin_password = {auth["password"]}
admin_project_name = {auth["project_name"]}
admin_domain_name = Default
create_isolated_networks = false
use_dynamic_credentials = true
[identity]
auth_version = v3
ca_certificates_file = {cloud.authority}
region = {known["region_name"]}
uri_v3 = {auth["auth_url"]}
v3_endpoint_type = public
[identity-feature-enabled]
api_v2 = false
api_v3 = true
[image-feature-enabled]
import_image = true
[service_available]
cinder = false
glance = true
neutron = false
nova = false
swift = false
""")
    return folder


def test_tempest_smoke_tests_of_identity_and_image(cloud: Cloud, tempest: Path) -> None:
    """The catalogue has the gateway's name, which this machine does not know: in a mount namespace of
    tempest's own, /etc/hosts does."""
    hosts = tempest / "hosts"
    names = "identity.jarvis.internal image.jarvis.internal"
    hosts.write_text(f"{Path('/etc/hosts').read_text()}\n{cloud.virtual_address} {names}\n")
    # OpenStack's own expression for smoke tests (tempest's documentation, "tempest run").
    smoke = r"(?=.*\[.*\bsmoke\b.*\])(^tempest\.api\.(identity|image))"
    run = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /etc/hosts && shift && exec "$@"', "-",
         str(hosts), "tempest", "run", "--concurrency", str(WORKERS), "--regex", smoke],
        cwd=tempest,
        env=cloud.stack.workspace.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-4000:]
    counts = {kind: int(n) for kind, n in re.findall(r" - (Passed|Failed|Skipped): (\d+)", run.stdout)}
    cloud.stack.say(f"tempest: {counts}")
    assert counts["Passed"] > 0
    assert counts["Failed"] == 0
