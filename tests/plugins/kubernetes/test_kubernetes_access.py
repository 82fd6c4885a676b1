"""Audit, admission and the operators' right as a real API server takes the files and objects of Jarvis."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, until

from jarvis.kubernetes.access import operators_binding
from jarvis.kubernetes.control_plane import ADMISSION
from jarvis.kubernetes.identity import operators_group

FILES = Path(__file__).resolve().parents[3] / "jarvis" / "kubernetes"
KUBELET, CONTROLLER = "system:node:node", "system:kube-controller-manager"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
SECRETS = "/api/v1/namespaces/default/secrets"
SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pulumi_tools: Path) -> Iterator[ApiServer]:
    """An API server with the policy, the admission and the service accounts' tokens of Jarvis."""
    found = ApiServer(
        tmp_path_factory.mktemp("access"),
        pulumi_tools,
        policy=FILES / "audit-policy.yaml",
        flags=[
            f"--admission-control-config-file={FILES / 'admission.yaml'}",
            f"--enable-admission-plugins={','.join(ADMISSION)}",
            "--service-account-extend-token-expiration=false",
        ],
        users={
            KUBELET: ["system:nodes"],
            CONTROLLER: [],
            "now": [operators_group(0)],
            "next": [operators_group(1)],
        },
    )
    try:
        found.start()
        yield found
    finally:
        found.stop()


def noted(server: ApiServer, user: str, path: str) -> list[tuple[str, str]]:
    """Verb and level of what the log has of ``user`` at ``path``."""
    return [
        (event["verb"], event["level"])
        for event in server.requests()
        if event["user"]["username"] == user and event["requestURI"] == path
    ]


def test_a_secret_that_a_kubelet_or_a_controller_reads_is_noted_without_its_body(server: ApiServer) -> None:
    server.call("POST", SECRETS, {"metadata": {"name": "kept"}, "stringData": {"key": "of-nobody-else"}})
    assert server.status(CONTROLLER, "GET", "/api/v1/secrets") == 200
    server.status(KUBELET, "GET", f"{SECRETS}/kept")
    until(lambda: noted(server, KUBELET, f"{SECRETS}/kept"))
    assert noted(server, CONTROLLER, "/api/v1/secrets") == [("list", "Metadata")]
    assert noted(server, KUBELET, f"{SECRETS}/kept") == [("get", "Metadata")]
    assert "of-nobody-else" not in server.audit.read_text()


def test_what_they_read_all_day_is_not(server: ApiServer) -> None:
    for path in ("/api/v1/nodes", "/readyz", "/api/v1/configmaps"):
        server.status(KUBELET, "GET", path)
    until(lambda: noted(server, KUBELET, "/api/v1/configmaps"))
    assert noted(server, KUBELET, "/api/v1/nodes") == noted(server, KUBELET, "/readyz") == []


def test_who_goes_into_a_pod_or_through_the_api_to_a_service_is_noted(server: ApiServer) -> None:
    paths = [
        "/api/v1/namespaces/default/pods/x/exec?command=true&stdout=true",
        "/api/v1/namespaces/default/services/x/proxy/",
    ]
    for path in paths:
        server.status(CONTROLLER, "GET", path)
        until(lambda path=path: noted(server, CONTROLLER, path))
        assert noted(server, CONTROLLER, path) == [("get", "Metadata")]


def test_no_service_takes_an_address_of_others(server: ApiServer) -> None:
    ports = [{"port": 80}]
    service = {"metadata": {"name": "own"}, "spec": {"ports": ports}}
    assert server.call("POST", SERVICES, service)["spec"]["ports"]
    stolen = {"metadata": {"name": "stolen"}, "spec": {"ports": ports, "externalIPs": ["192.0.2.1"]}}
    with pytest.raises(AssertionError, match="Use of external IPs is denied"):
        server.call("POST", SERVICES, stolen)


def test_a_token_of_a_pod_ends_within_the_hour(server: ApiServer) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    pod = server.call(
        "POST",
        "/api/v1/namespaces/default/pods",
        {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "one", "image": "one"}]}},
    )
    # As the kubelet asks for it: of 3607 s, by which the API server knows those it may extend.
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": pod["metadata"]["uid"]}
    answer = server.call("POST", path, {"spec": {"expirationSeconds": 3607, "boundObjectRef": bound}})
    payload = answer["status"]["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] - claims["iat"] == 3607


def test_the_operators_right_is_given_taken_and_turned(server: ApiServer) -> None:
    assert server.status("now", "GET", SECRETS) == 403
    server.call("POST", BINDINGS, operators_binding(operators_group(0)))
    until(lambda: server.status("now", "GET", SECRETS) == 200)
    assert server.status("next", "GET", SECRETS) == 403

    path = f"{BINDINGS}/jarvis:operators"
    server.call("PUT", path, operators_binding(operators_group(1)))
    until(lambda: server.status("next", "GET", SECRETS) == 200)
    until(lambda: server.status("now", "GET", SECRETS) == 403)

    server.call("DELETE", path)
    until(lambda: server.status("next", "GET", SECRETS) == 403)
