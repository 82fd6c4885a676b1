"""What Kubernetes' parts are told: flags, units, configuration files, as pure functions."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from jarvis.config import Environment, parse_environment
from jarvis.config.names import GATEWAY_NAMESPACE
from jarvis.gateway import http
from jarvis.kubernetes.containerd import containerd_config, registry_hosts
from jarvis.kubernetes.control_plane import (
    SHUTDOWN_DELAY_SECONDS,
    WATCH_DRAIN_SECONDS,
    apiserver_flags,
    apiserver_names,
    controller_manager_flags,
    scheduler_flags,
)
from jarvis.kubernetes.dns import corefile, daemon_set_spec
from jarvis.kubernetes.flags import command_line, merge_flags, merge_objects
from jarvis.kubernetes.identity import encryption_configuration, encryption_key_numbers
from jarvis.kubernetes.kubeconfig import file_kubeconfig, whole_kubeconfig
from jarvis.kubernetes.load_balancer import haproxy_config
from jarvis.kubernetes.network import (
    GATEWAY_PORT,
    access_rules,
    cni_config,
    masquerade_rules,
    pod_routes,
)
from jarvis.kubernetes.node import kube_proxy_config, kubelet_config, label_patch, node_labels
from jarvis.kubernetes.virtual_address import keepalived_config

FILES = Path(__file__).resolve().parents[2] / "jarvis" / "kubernetes"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
ALL = ["etcd", "control-plane", "worker", "registry", "gateway"]


def environment(**kubernetes: Any) -> Environment:
    servers = [
        {
            "name": f"s{number}",
            "address": f"10.0.0.{10 + number}",
            "host_key": HOST_KEY,
            "roles": ALL + (["database", "queue", "storage"] if number == 1 else []),
            "labels": {"topology.kubernetes.io/zone": f"z{number}"},
        }
        for number in (1, 2, 3)
    ]
    values = {
        "name": "test",
        "networks": {"management": "10.0.0.0/24", "virtual_address": "10.0.0.100"},
        "servers": servers,
        "kubernetes": kubernetes,
    }
    return parse_environment(values, "test")


def two_of_the_first() -> Environment:
    """An environment that no file describes: twice its first server, which has every role."""
    env = environment()
    return env.model_copy(update={"servers": [env.servers[0], env.servers[0]]})


def test_flags_of_the_configuration_win_and_all_are_sorted() -> None:
    merged = merge_flags({"b": 1, "a": True, "c": "x"}, {"b": 2, "d": False})
    assert merged == {"a": "true", "b": "2", "c": "x", "d": "false"}
    assert list(merged) == sorted(merged)


def test_a_command_line_is_one_flag_a_line_and_means_itself_to_systemd() -> None:
    text = command_line("/usr/bin/x", {"plain": "a,b=c", "spaced": 'a "b"', "percent": "50%", "dollar": "$1"})
    assert text.split(" \\\n  ") == [
        "/usr/bin/x",
        "--plain=a,b=c",
        '"--spaced=a \\"b\\""',
        "--percent=50%%",
        '"--dollar=$$1"',
    ]


def test_a_flag_of_two_lines_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="flag v: "):
        command_line("/usr/bin/x", {"v": "1\nExecStartPost=/bin/true"})


def test_objects_are_laid_over_each_other_key_by_key() -> None:
    own = {"authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}}, "list": [1, 2]}
    extra = {"authentication": {"webhook": {"cacheTTL": "1m"}}, "list": [3]}
    assert merge_objects(own, extra) == {
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True, "cacheTTL": "1m"}},
        "list": [3],
    }
    assert own["list"] == [1, 2]


def test_the_apiserver_lets_nobody_in_without_a_certificate_or_token() -> None:
    env = environment(apiserver_flags={"v": 4, "audit-log-maxage": 7})
    flags = apiserver_flags(
        env,
        env.servers[1],
        ["https://10.0.0.11:2379", "https://10.0.0.12:2379"],
        env.kubernetes.apiserver_flags,
    )
    assert flags["anonymous-auth"] == "false"
    assert flags["authorization-mode"] == "Node,RBAC"
    assert flags["enable-admission-plugins"] == "NodeRestriction,DenyServiceExternalIPs,EventRateLimit"
    assert flags["service-account-extend-token-expiration"] == "false"
    assert flags["tls-min-version"] == "VersionTLS12"
    assert flags["advertise-address"] == "10.0.0.12"
    assert flags["etcd-servers"] == "https://10.0.0.11:2379,https://10.0.0.12:2379"
    assert flags["service-account-issuer"] == "https://kubernetes.default.svc.cluster.local"
    assert (flags["v"], flags["audit-log-maxage"]) == ("4", "7")
    assert "token-auth-file" not in flags


def test_every_part_of_the_control_plane_listens_where_it_should_and_has_no_profiling() -> None:
    env = environment(scheduler_flags={"kube-api-qps": 100})
    controllers = controller_manager_flags(env, {})
    scheduler = scheduler_flags(env, env.kubernetes.scheduler_flags)
    for flags in (controllers, scheduler):
        assert (flags["bind-address"], flags["profiling"]) == ("127.0.0.1", "false")
    assert scheduler["kube-api-qps"] == "100"
    assert controllers["use-service-account-credentials"] == "true"
    # The authority's key never reaches a server.
    assert not [name for name in controllers if name.startswith("cluster-signing")]


def test_on_slow_servers_who_leads_has_longer_to_renew() -> None:
    assert "leader-elect-renew-deadline" not in scheduler_flags(environment(), {})
    slow = environment().model_copy(update={"patience": 20})
    for flags in (controller_manager_flags(slow, {}), scheduler_flags(slow, {})):
        assert flags["leader-elect-renew-deadline"] == "200s"


def test_the_apiserver_is_called_by_service_server_and_virtual_address() -> None:
    env = environment()
    names, addresses = apiserver_names(env, env.servers[0])
    assert "kubernetes.default.svc.cluster.local" in names
    assert addresses == ["10.96.0.1", "10.0.0.100", "10.0.0.11", "127.0.0.1"]


def test_the_next_encryption_key_is_known_before_it_encrypts_and_none_is_forgotten() -> None:
    for rotation in range(4):
        now, later = encryption_key_numbers(rotation), encryption_key_numbers(rotation + 1)
        assert now[0] == rotation
        assert later[0] in now, "servers that have not changed yet could not read what the others write"
        assert set(now) <= set(later)


def test_secrets_are_encrypted_and_never_kept_in_clear() -> None:
    keys = [base64.b64encode(bytes([number]) * 32).decode() for number in range(2)]
    [resource] = json.loads(encryption_configuration([0, 1], keys))["resources"]
    assert resource["resources"] == ["secrets"]
    [provider] = resource["providers"]
    assert [key["name"] for key in provider["secretbox"]["keys"]] == ["key-0", "key-1"]
    assert [key["secret"] for key in provider["secretbox"]["keys"]] == keys


def test_a_servers_kubeconfig_names_files_and_holds_no_secret() -> None:
    document = yaml.safe_load(file_kubeconfig("system:kube-proxy", "/etc/kubernetes/kube-proxy"))
    [cluster] = document["clusters"]
    assert cluster["cluster"] == {
        "server": "https://127.0.0.1:7443",
        "certificate-authority": "/etc/kubernetes/kube-proxy/ca.crt",
    }
    assert document["users"][0]["user"] == {
        "client-certificate": "/etc/kubernetes/kube-proxy/client.crt",
        "client-key": "/etc/kubernetes/kube-proxy/client.key",
    }
    [context] = document["contexts"]
    assert context["name"] == document["current-context"]
    assert context["context"] == {"cluster": cluster["name"], "user": "system:kube-proxy"}


def test_an_operators_kubeconfig_has_everything_in_it() -> None:
    document = yaml.safe_load(
        whole_kubeconfig("operator", "test", "https://10.0.0.100:6443", "CA", "CERT", "KEY")
    )
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    assert cluster["server"] == "https://10.0.0.100:6443"
    found = (
        cluster["certificate-authority-data"],
        user["client-certificate-data"],
        user["client-key-data"],
    )
    assert [base64.b64decode(value) for value in found] == [b"CA", b"CERT", b"KEY"]


def test_the_local_proxy_asks_each_apiserver_over_tls_and_listens_on_loopback_alone() -> None:
    servers = [("s1", "10.0.0.11:6443"), ("s2", "10.0.0.12:6443")]
    lines = [line.strip() for line in haproxy_config(servers).splitlines()]
    assert [line for line in lines if line.startswith("bind ")] == ["bind 127.0.0.1:7443"]
    assert [line for line in lines if line.startswith("server ")] == [
        "server s1 10.0.0.11:6443",
        "server s2 10.0.0.12:6443",
    ]
    [default] = [line for line in lines if line.startswith("default-server ")]
    assert "check-ssl" in default
    assert "verify required" in default


def test_a_gateway_without_an_apiserver_listens_for_the_virtual_address_too() -> None:
    text = haproxy_config([("s1", "10.0.0.11:6443")], public_port=6443)
    binds = [line.strip() for line in text.splitlines() if line.strip().startswith("bind ")]
    assert binds == ["bind 127.0.0.1:7443", "bind 0.0.0.0:6443"]


def test_an_api_server_that_stops_has_time_to_end_watches_before_it_is_killed() -> None:
    unit = (FILES / "kube-apiserver.service").read_text()
    [limit] = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert WATCH_DRAIN_SECONDS > 0
    assert int(limit) > SHUTDOWN_DELAY_SECONDS + WATCH_DRAIN_SECONDS


def keepalived(**changes: Any) -> str:
    values: dict[str, Any] = {
        "server": "s1",
        "address": IPv4Address("10.0.0.11"),
        "interface": "",
        "peers": [IPv4Address("10.0.0.12"), IPv4Address("10.0.0.13")],
        "virtual_addresses": [IPv4Address("10.0.0.100")],
        "router_id": 88,
        "api_port": 6443,
        "gateway_port": 443,
    }
    return keepalived_config(**{**values, **changes})


def test_servers_have_equal_priority_so_that_the_address_stays_where_it_is() -> None:
    one = keepalived()
    other = keepalived(server="s2", address=IPv4Address("10.0.0.12"), peers=[IPv4Address("10.0.0.11")])
    priorities = [line for text in (one, other) for line in text.splitlines() if "priority" in line]
    assert len(priorities) == 2
    assert priorities[0] == priorities[1]
    assert "    10.0.0.12\n    10.0.0.13\n" in one
    assert "10.0.0.100/32" in one


def test_a_server_without_an_api_cannot_have_the_address() -> None:
    """keepalived takes a script without a weight for a condition. With one, a server that is cut off from the
    others would take the address beside their holder."""
    [api] = re.findall(r"vrrp_script api {([^}]*)}", keepalived())
    assert "weight" not in api


def test_a_server_that_is_alone_speaks_to_nobody() -> None:
    assert "unicast" not in keepalived(peers=[])
    assert "  unicast_src_ip 10.0.0.11\n" in keepalived()


def test_the_interface_is_the_configured_one_or_found_on_the_server() -> None:
    assert "interface %INTERFACE%\n" in keepalived()
    assert "interface bond0\n" in keepalived(interface="bond0")


def test_the_cni_configuration_gives_out_addresses_of_the_servers_own_part() -> None:
    document = json.loads(cni_config(IPv4Network("10.244.2.0/24")))
    bridge, portmap, access = document["plugins"]
    # It wants the address that the others gave.
    assert access == {"type": "jarvis-access"}
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]
    assert bridge["hairpinMode"] is True
    assert bridge["ipMasq"] is False
    assert portmap["capabilities"] == {"portMappings": True}


def test_pods_are_judged_on_their_own_server() -> None:
    env = environment()
    text = access_rules(env, env.servers[2])
    assert "ip saddr != 10.244.2.0/24 accept\n" in text
    assert (
        "@openstack ip daddr 10.244.0.0/16 tcp dport { 5000, 9292, 8778, 8774, 8775, 11211 } counter reject"
        in text
    )
    # What is known of the pods that are there stays when the rules are written anew.
    assert "delete table" not in text
    assert "add set inet jarvis-access openstack " in text
    # What these rules know of other modules without importing them.
    assert (GATEWAY_NAMESPACE, GATEWAY_PORT) == (http.NAMESPACE, http.PUBLIC_PORT)


def test_each_server_has_a_route_to_the_pods_of_every_other_and_none_to_its_own() -> None:
    env = environment()
    found = [(str(subnet), str(address)) for subnet, address in pod_routes(env, env.servers[1])]
    assert found == [("10.244.0.0/24", "10.0.0.11"), ("10.244.2.0/24", "10.0.0.13")]


def test_pods_keep_their_address_towards_pods_servers_and_the_virtual_address() -> None:
    text = masquerade_rules(environment())
    assert "ip saddr 10.244.0.0/16" in text
    assert "{ 10.244.0.0/16, 10.0.0.100, 10.0.0.11, 10.0.0.12, 10.0.0.13 }" in text


def test_the_kubelet_asks_the_apiserver_who_may_do_what() -> None:
    config = kubelet_config(
        environment(), {"failSwapOn": False, "authentication": {"webhook": {"cacheTTL": "1m"}}}
    )
    assert config["authentication"]["anonymous"] == {"enabled": False}
    assert config["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "1m"}
    assert config["authorization"] == {"mode": "Webhook"}
    assert config["readOnlyPort"] == 0
    assert config["clusterDNS"] == ["10.96.0.10"]
    assert config["failSwapOn"] is False
    assert config["seccompDefault"] is True
    # The most that a pod of today has is some dozens of processes.
    assert config["podPidsLimit"] >= 4096
    assert kubelet_config(environment(), {"podPidsLimit": 32768})["podPidsLimit"] == 32768


def test_kube_proxy_writes_nftables_for_traffic_from_outside_the_pods() -> None:
    config = kube_proxy_config(environment(), {"conntrack": {"maxPerCore": 0}})
    assert (config["mode"], config["clusterCIDR"]) == ("nftables", "10.244.0.0/16")
    assert config["conntrack"] == {"maxPerCore": 0}


def test_a_role_that_a_server_lost_is_taken_from_its_nodes_labels() -> None:
    env = environment()
    labels = node_labels(env.servers[1])
    assert labels["topology.kubernetes.io/zone"] == "z2"
    patch = json.loads(label_patch(env, env.servers[1]))["metadata"]["labels"]
    assert patch["jarvis.internal/gateway"] == "true"
    assert patch["jarvis.internal/database"] is None
    assert patch["topology.kubernetes.io/zone"] == "z2"


def test_containerd_pulls_from_the_nearest_registry_first_with_a_certificate() -> None:
    text = registry_hosts(["10.0.0.12", "10.0.0.11"], 5000)
    hosts = tomllib.loads(text)["host"]
    assert list(hosts) == ["https://10.0.0.12:5000", "https://10.0.0.11:5000"]
    for host in hosts.values():
        assert host["capabilities"] == ["pull", "resolve"]
        [[certificate, key]] = host["client"]
        assert certificate.endswith("/client.crt")
        assert key.endswith("/client.key")


@pytest.mark.parametrize("restrict", [True, False])
def test_containerds_configuration(restrict: bool) -> None:
    document = tomllib.loads(containerd_config("r/pause@sha256:1", restrict_oom_score_adj=restrict))
    images = document["plugins"]["io.containerd.cri.v1.images"]
    runtime = document["plugins"]["io.containerd.cri.v1.runtime"]
    assert images["pinned_images"]["sandbox"] == "r/pause@sha256:1"
    assert runtime["restrict_oom_score_adj"] is restrict
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True


def dns(upstream: list[str]) -> str:
    return corefile(
        cluster_domain="cluster.local",
        networks=[IPv4Network("10.96.0.0/16")],
        domain="jarvis.internal",
        names=["api.jarvis.internal", "identity.jarvis.internal"],
        virtual_address=IPv4Address("10.0.0.100"),
        upstream=[IPv4Address(address) for address in upstream],
        aliases={"database.jarvis.internal": "database.openstack.svc.cluster.local"},
    )


def test_without_upstream_servers_no_question_leaves_the_cluster() -> None:
    text = dns([])
    assert "forward" not in text
    assert "rcode NXDOMAIN" in text
    assert "10.0.0.100 api.jarvis.internal identity.jarvis.internal\n" in text


def test_with_upstream_servers_all_but_the_cluster_is_asked_there() -> None:
    text = dns(["10.0.0.2", "10.0.0.3"])
    cluster, rest = text.split("jarvis.internal {", 1)
    assert "forward" not in cluster
    assert rest.count("forward . 10.0.0.2 10.0.0.3\n") == 2
    assert "resolv.conf" not in text
    assert text.count("{") == text.count("}")


def test_a_linked_service_has_the_name_that_outside_has_it() -> None:
    rest = dns([]).split("jarvis.internal {", 1)[1]
    assert "template IN ANY database.jarvis.internal {\n" in rest
    assert 'answer "database.jarvis.internal. 5 IN CNAME database.openstack.svc.cluster.local."' in rest


def test_a_changed_corefile_rolls_the_pods() -> None:
    def annotations(config: str) -> object:
        return daemon_set_spec("image", config)["template"]["metadata"]["annotations"]

    assert annotations("a") == annotations("a")
    assert annotations("a") != annotations("b")


def test_a_rolling_change_of_dns_leaves_no_node_without_it() -> None:
    spec = daemon_set_spec("image", "config")
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    # A node that is not to get other pods has some all the same: the gateway's.
    assert spec["template"]["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_files_for_the_api_server_are_what_it_reads() -> None:
    admission = yaml.safe_load((FILES / "admission.yaml").read_text())
    pods, events = (plugin["configuration"] for plugin in admission["plugins"])
    assert pods["defaults"]["enforce"] == "baseline"
    assert pods["exemptions"] == {"namespaces": ["kube-system"]}
    # https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/: eventRecordQPS, eventBurst
    [limit] = events["limits"]
    assert (limit["type"], limit["qps"] >= 50, limit["burst"] >= 100) == ("User", True, True)
    rules = yaml.safe_load((FILES / "audit-policy.yaml").read_text())["rules"]
    bodies = [rule for rule in rules if rule["level"] in ("Request", "RequestResponse")]
    for rule in bodies:
        for resource in rule["resources"]:
            assert resource["group"] not in ("", "authentication.k8s.io"), (
                "bodies of secrets in the audit log"
            )


def audited(user: str, groups: Sequence[str], verb: str, resource: str, group: str = "") -> str:
    """The level of the first rule that matches a request for ``resource`` of the API ``group``."""
    for rule in yaml.safe_load((FILES / "audit-policy.yaml").read_text())["rules"]:
        who = {*rule.get("users", []), *rule.get("userGroups", [])}
        what = rule.get("resources", [])
        if (
            "nonResourceURLs" not in rule
            and (not who or who & {user, *groups})
            and verb in rule.get("verbs", [verb])
            and (
                not what
                or any(
                    each["group"] == group and resource in each.get("resources", [resource]) for each in what
                )
            )
        ):
            return str(rule["level"])
    return "None"


KUBELET = ("system:node:s1", ["system:nodes", "system:authenticated"])
CONTROLLER = ("system:serviceaccount:kube-system:job-controller", ["system:serviceaccounts:kube-system"])


@pytest.mark.parametrize(
    ("who", "verb", "resource", "level"),
    [
        (KUBELET, "get", "secrets", "Metadata"),
        (KUBELET, "watch", "configmaps", "Metadata"),
        (KUBELET, "create", "serviceaccounts/token", "Metadata"),
        (("system:kube-controller-manager", []), "list", "secrets", "Metadata"),
        (CONTROLLER, "get", "secrets", "Metadata"),
        (CONTROLLER, "get", "pods/exec", "Metadata"),
        (("system:apiserver", []), "list", "secrets", "Metadata"),
        (("jarvis:operator", ["jarvis:operators"]), "create", "pods/portforward", "Metadata"),
        (("jarvis:operator", ["jarvis:operators"]), "get", "services/proxy", "Metadata"),
        (("jarvis:operator", ["jarvis:operators"]), "get", "pods", "Metadata"),
        (KUBELET, "list", "pods", "None"),
        (KUBELET, "patch", "nodes/status", "None"),
        (CONTROLLER, "watch", "pods", "None"),
        (CONTROLLER, "create", "pods", "Metadata"),
    ],
)
def test_whoever_reads_a_secret_or_enters_a_pod_is_noted(
    who: tuple[str, list[str]], verb: str, resource: str, level: str
) -> None:
    assert audited(*who, verb, resource) == level


def test_the_holder_of_the_virtual_address_may_set_it_and_little_else() -> None:
    """With these keepalived 2.2.7 took an address, ran its checks and let the address go; with one
    capability less it complains of each check (setgroups)."""
    lines = (FILES / "virtual-address.service").read_text().splitlines()
    for line in (
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SETGID",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "RuntimeDirectory=jarvis-virtual-address",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX",
        "SystemCallFilter=@system-service",
    ):
        assert line in lines


def test_a_slow_servers_checks_wait_longer() -> None:
    assert "timeout check 60s" in haproxy_config([("s1", "10.0.0.11:6443")], patience=20)
    slow = keepalived(patience=20)
    assert "  interval 40\n  timeout 80\n" in slow
    assert 'script "/usr/bin/env JARVIS_PATIENCE_FACTOR=20 /var/lib/jarvis/bin/apiserver-ready ' in slow
    assert "JARVIS_PATIENCE_FACTOR" not in keepalived()
