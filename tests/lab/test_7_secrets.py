"""No secret of the deployment is anywhere in the open: not in what was shown, logged, or kept."""

from __future__ import annotations

import base64
import json

import pytest
from deployment import Cloud
from known_secrets import key_lines, known_secrets, seen, seen_in_files

# All that somebody without any right may read, but for what every Debian has and the layers of images.
AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c"
READABLE = (
    "find / -xdev -type f -readable -not -path '/usr/*' -not -path '/var/lib/dpkg/*'; "
    "find /var /run /tmp -xdev -type f -readable -not -path '/var/lib/dpkg/*'"
)


@pytest.fixture(scope="module")
def secrets(cloud: Cloud) -> set[str]:
    """All of them; few would mean that the search finds nothing because it looks for nothing."""
    found = known_secrets(cloud.stack.state(secrets=True))
    with open(cloud.facts["private_key_path"], encoding="utf-8") as stream:
        own = set(key_lines(stream.read()))
    assert own
    assert len(found) > 60
    return found | own | _rings(cloud)


def _rings(cloud: Cloud) -> set[str]:
    """Keystone's keys, which are in the cluster alone, and the base64 of each that its API has."""
    encoded = {
        key
        for name in ("keystone-fernet-keys", "keystone-credential-keys")
        for key in json.loads(cloud.kubectl("get", "secret", "-n", "openstack", name, "-o", "json"))[
            "data"
        ].values()
    }
    assert len(encoded) >= 4
    return encoded | {base64.b64decode(key).decode() for key in encoded}


def test_the_search_finds_what_is_there(cloud: Cloud, secrets: set[str]) -> None:
    clouds = cloud.stack.workspace.clouds.read_text()
    assert seen(secrets, clouds), "the administrator's password is one of the known secrets"
    key = cloud.ssh(cloud.servers[0], "cat /etc/etcd/member.key")
    assert seen(secrets, key), "the key of an etcd member is one of the known secrets"


def test_no_output_or_event_log_has_a_secret(cloud: Cloud, secrets: set[str]) -> None:
    """Of every run of pulumi: killed, refused and finished ones, previews with their diffs."""
    for folder in cloud.stack.workspace.state.glob("test*/logs"):
        assert list(folder.iterdir()), folder
        assert seen_in_files(secrets, folder) == {}
        assert seen_in_files(["PRIVATE KEY-----\nMI", "PRIVATE KEY-----\\nMI"], folder) == {}


def test_no_secret_is_plain_in_the_state(cloud: Cloud, secrets: set[str]) -> None:
    for folder in cloud.stack.workspace.state.glob("test*/state"):
        assert list(folder.rglob("*.json")), folder
        assert seen_in_files(secrets, folder) == {}


def test_the_files_with_secrets_are_their_owners_alone(cloud: Cloud, secrets: set[str]) -> None:
    workspace = cloud.stack.workspace
    for path in (workspace.clouds, workspace.kubeconfig):
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_no_journal_or_audit_log_has_a_secret(cloud: Cloud, secrets: set[str]) -> None:
    for server, text in cloud.each("journalctl --no-pager --output cat; cat /var/log/kubernetes/*"):
        assert text
        assert seen(secrets, text) == [], server


def test_no_pod_logs_a_secret(cloud: Cloud, secrets: set[str]) -> None:
    for server, text in cloud.each("find /var/log/pods -type f -exec cat {} +"):
        assert text
        assert seen(secrets, text) == [], server


def test_no_command_line_has_a_secret(cloud: Cloud, secrets: set[str]) -> None:
    for server, text in cloud.each("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'"):
        assert "kube-apiserver" in text
        assert seen(secrets, text) == [], server


def test_nobody_can_read_a_secret(cloud: Cloud, secrets: set[str]) -> None:
    command = f"({READABLE}) 2>/dev/null | tr '\\n' '\\0' | xargs -0 grep -IhE '[A-Za-z0-9+/_-]{{16}}'; true"
    for server, text in cloud.each(f'{AS_NOBODY} "{command}"'):
        assert "etcd" in text
        assert seen(secrets, text) == [], server


def test_secrets_are_encrypted_at_rest_in_etcd(cloud: Cloud, secrets: set[str]) -> None:
    environment = "set -a; . /etc/etcd/etcdctl.env; set +a"
    text = cloud.ssh(
        cloud.servers[0], f"{environment}; etcdctl get --prefix /registry/secrets/ --print-value-only"
    )
    assert text
    assert seen(secrets, text) == []
    assert text.startswith("k8s:enc:")
