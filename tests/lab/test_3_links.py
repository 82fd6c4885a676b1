"""Stateful services under one name in pods, on servers and outside; the cluster's services on servers."""

from __future__ import annotations

import socket

from deployment import Cloud
from test_3_cloud import keystone_pods

NAME, PORT = "database.jarvis.internal", 3306
# What MariaDB says first has its version in clear (its manual, "Initial Handshake Packet").
GREETING = "import socket; print(socket.create_connection(('%s', %d), 5).recv(80))"


def test_the_database_has_its_name_in_pods(cloud: Cloud) -> None:
    for pod in keystone_pods(cloud):
        for name in (NAME, "database.openstack.svc.cluster.local"):
            program = GREETING % (name, PORT)
            said = cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", program)
            assert "MariaDB" in said, (pod, name)


def test_the_database_has_its_name_on_servers(cloud: Cloud) -> None:
    """Where the authority's certificate lies, on the database's own servers, it is held against that name."""
    greet = f"exec 3<>/dev/tcp/{NAME}/{PORT}; timeout 5 head -c 60 <&3 | tr -d '\\0'"
    for server, said in cloud.each(f"bash -c {greet!r}"):
        assert "MariaDB" in said, server
    authority = "/etc/mysql/jarvis/authority.pem"
    verify = (
        f"openssl s_client -starttls mysql -brief -verify_return_error -verify_hostname {NAME}"
        f" -CAfile {authority} -connect {NAME}:{PORT} </dev/null 2>&1"
    )
    said = cloud.each(f"[ ! -e {authority} ] || {verify}")
    assert any("Verification: OK" in text for _, text in said)


def test_the_database_is_reached_from_outside(cloud: Cloud) -> None:
    with socket.create_connection((cloud.virtual_address, PORT), 5) as connection:
        assert b"MariaDB" in connection.recv(80)


def test_a_server_reaches_a_service_of_the_cluster_by_name(cloud: Cloud) -> None:
    url = "http://keystone.openstack.svc.cluster.local:5000/v3"
    for server, status in cloud.each(
        f"curl --silent --max-time 10 --output /dev/null --write-out '%{{http_code}}' {url}"
    ):
        assert status == "200", server


def test_what_pods_ask_for_is_on_their_own_node(cloud: Cloud) -> None:
    """Names, and the gateway by the names of the endpoints: a lost server takes nobody else's with it."""
    for namespace, service in (("kube-system", "kube-dns"), ("gateway", "gateway")):
        label = f"kubernetes.io/service-name={service}"
        slices = cloud.objects("endpointslices", "-n", namespace, "-l", label)
        served = {
            each["nodeName"]: [node["name"] for node in each["hints"]["forNodes"]]
            for one in slices
            for each in one["endpoints"]
        }
        assert served == {server: [server] for server in cloud.servers}, service
    named = ("-n", "gateway", "--field-selector", "metadata.name=gateway")
    [gateway] = [one["spec"]["clusterIP"] for one in cloud.objects("services", *named)]
    for pod in keystone_pods(cloud):
        for name in ("identity.jarvis.internal", "image.jarvis.internal"):
            program = f"import socket; print(socket.gethostbyname('{name}'))"
            said = cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", program)
            assert said.strip() == gateway, (pod, name)


def test_a_fragment_that_haproxy_refuses_takes_no_proxy_down(cloud: Cloud) -> None:
    server, bad = cloud.servers[0], "/etc/jarvis/link.d/zz-bad.cfg"
    cloud.ssh(server, f"echo nonsense >{bad}")
    try:
        assert cloud.attempt_ssh(server, "systemctl reload jarvis-link").returncode != 0
        # Nor at its next start.
        cloud.ssh(server, "systemctl restart jarvis-link && /var/lib/jarvis/bin/link listening 3306")
    finally:
        cloud.ssh(server, f"rm {bad}")
    cloud.ssh(server, "systemctl reload jarvis-link")
