"""Whom pods may speak to, tried from pods."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from deployment import LIMIT_SECONDS, Cloud
from test_3_cloud import keystone_pods
from test_3_firewall import REFUSED, TRY

STRANGER = "stranger"
KEYSTONE = "app.kubernetes.io/name=keystone,app.kubernetes.io/component=api"


@pytest.fixture(scope="module")
def stranger(cloud: Cloud) -> Iterator[str]:
    """A pod of a namespace that is nobody's, with Keystone's image for its Python."""
    pod = cloud.objects("pods", "-n", "openstack", "-l", KEYSTONE)[0]
    overrides = {"spec": {"automountServiceAccountToken": False, "enableServiceLinks": False}}
    cloud.kubectl(
        "run", STRANGER, "-n", "default", "--image", pod["spec"]["containers"][0]["image"], "--restart=Never",
        f"--overrides={json.dumps(overrides)}", "--command", "--",
        "python3", "-c", f"import time; time.sleep({LIMIT_SECONDS})",
    )  # fmt: skip
    try:
        cloud.kubectl("wait", "-n", "default", "--for=condition=Ready", "--timeout=120s", f"pod/{STRANGER}")
        yield STRANGER
    finally:
        cloud.kubectl("delete", "pod", "-n", "default", STRANGER, "--now")


def _try(cloud: Cloud, namespace: str, pod: str, address: str, port: int) -> str:
    program = TRY % (address, port)
    return cloud.kubectl("exec", "-n", namespace, pod, "--", "python3", "-c", program).strip()


def _addresses(cloud: Cloud, namespace: str, label: str) -> list[str]:
    pods = cloud.objects("pods", "-n", namespace, "-l", label)
    return [pod["status"]["podIP"] for pod in pods if pod["status"]["phase"] == "Running"]


def test_a_stranger_among_the_pods_is_refused(cloud: Cloud, stranger: str) -> None:
    """On its own server and on others."""
    keystones = _addresses(cloud, "openstack", KEYSTONE)
    assert len(keystones) == 2
    for address in keystones:
        assert _try(cloud, "default", stranger, address, 5000) == REFUSED
    assert _try(cloud, "default", stranger, "database.jarvis.internal", 3306) == REFUSED
    # By the gateway, as everyone; and names are resolved, as just now.
    assert _try(cloud, "default", stranger, cloud.virtual_address, 443) == "0"


def test_a_pod_of_openstack_reaches_what_it_needs_and_no_more(cloud: Cloud) -> None:
    for pod in keystone_pods(cloud):
        assert _try(cloud, "openstack", pod, "database.jarvis.internal", 3306) == "0"
        assert _try(cloud, "openstack", pod, cloud.virtual_address, 443) == "0"
        for address in _addresses(cloud, "kube-system", "app.kubernetes.io/name=coredns"):
            assert _try(cloud, "openstack", pod, address, 5353) == "0"
            # Its metrics, which listen as well.
            assert _try(cloud, "openstack", pod, address, 9153) == REFUSED
