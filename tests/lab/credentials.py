"""The credentials of a deployment, kept from before a rotation, and who accepts them afterwards.

Each is tried as its user would, by a tool that is not ours: with the current one, which must be let in, and
with the former one, which must not.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import pika
import yaml
from asking import administrators_tls, clusters_tls
from deployment import Cloud
from pika.exceptions import ProbableAuthenticationError

# Where a server keeps the former ones meanwhile, for root alone.
FORMER = "/root/former"
_KEPT = (
    "/etc/kubernetes",
    "/etc/etcd",
    "/etc/containerd/certs.d",
    "/etc/ceph",
    "/var/lib/jarvis/ceph",
)
_API = "https://127.0.0.1:6443"
_CA = "/etc/kubernetes/apiserver/ca.crt"
_CODE = "curl --silent --output /dev/null --max-time 10 --write-out '%{http_code}'"
_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What an operator's machine and the cluster have: files of access, tokens, Secrets' content."""

    kubeconfig: dict[str, Any]
    clouds: dict[str, Any]
    authority: str
    token: str
    # By Secret, of the namespace openstack: variables with their values.
    secrets: dict[str, dict[str, str]]


def current(cloud: Cloud) -> Credentials:
    """Those that the deployment has now."""
    workspace = cloud.stack.workspace
    secrets = {
        each["metadata"]["name"]: {
            key: base64.b64decode(value).decode(errors="replace") for key, value in each["data"].items()
        }
        for each in cloud.objects("secrets", "--namespace", "openstack")
        if each.get("data")
    }
    token = cloud.kubectl("create", "token", "default", "--namespace", "default", "--duration", "4h").strip()
    return Credentials(
        kubeconfig=yaml.safe_load(workspace.kubeconfig.read_text()),
        clouds=yaml.safe_load(workspace.clouds.read_text())["clouds"]["jarvis"],
        authority=cloud.authority.read_text(),
        token=token,
        secrets=secrets,
    )


def keep_former(cloud: Cloud) -> None:
    """Copies those on the first server aside, there."""
    cloud.ssh(
        cloud.servers[0],
        f"set -o pipefail; rm -rf {FORMER} && mkdir -m 700 {FORMER}"
        f" && tar --create --absolute-names {' '.join(_KEPT)} | tar --extract --directory {FORMER}",
    )


def forget_former(cloud: Cloud) -> None:
    """Removes the copy."""
    cloud.attempt_ssh(cloud.servers[0], f"rm -rf {FORMER}")


Probe = tuple[str, Callable[[], bool], Callable[[], bool]]


def probes(cloud: Cloud, former: Credentials, now: Credentials) -> Iterator[Probe]:
    """For each kind of credential: its name, and whether the current and the former one are accepted."""
    yield from _on_server(cloud)
    yield from _of_cluster(cloud, former, now)
    yield from _of_services(cloud, former, now)
    authority = now.authority
    yield (
        "the gateway's certificate, by its authority",
        lambda: _gateway_is_trusted(cloud, authority),
        lambda: _gateway_is_trusted(cloud, former.authority),
    )


def _on_server(cloud: Cloud) -> Iterator[Probe]:
    """Certificates and keys that lie on a server, tried there."""
    server = cloud.servers[0]

    def accepted(command: str) -> Callable[[str], bool]:
        return lambda base: cloud.attempt_ssh(server, command.replace("@", base)).returncode == 0

    def pair(folder: str) -> str:
        return f"--cert @{folder}/client.crt --key @{folder}/client.key"

    kubernetes = "/etc/kubernetes"
    registry = "/etc/containerd/certs.d/registry.jarvis.internal"
    where = f"$(sed -n 's/^server = \"\\(.*\\)\"$/\\1/p' {registry}/hosts.toml)/v2/"

    def answers(code: int, *words: str) -> str:
        return f'[ "$({_CODE} {" ".join(words)})" = {code} ]'

    api = f"--cacert {_CA}"
    users = ("health", "controllers/controller-manager", "controllers/scheduler", "kube-proxy", "kubelet")
    commands = {
        f"Kubernetes: {user}": answers(200, api, pair(f"{kubernetes}/{user}"), f"{_API}/api")
        for user in users
    }
    front = (pair(f"{kubernetes}/apiserver/front-proxy"), "--header 'X-Remote-User: somebody'")
    commands |= {
        # 403: known, and allowed nothing; 401: not known.
        "Kubernetes: front proxy": answers(403, api, *front, f"{_API}/api/v1/nodes"),
        "kubelet: its client": answers(
            200, "--insecure", pair(f"{kubernetes}/apiserver/kubelet"), "https://127.0.0.1:10250/healthz"
        ),
        "etcd: its client": (
            "set -a; . /etc/etcd/etcdctl.env; set +a; "
            f"export ETCDCTL_CERT=@{kubernetes}/apiserver/etcd/client.crt "
            f"ETCDCTL_KEY=@{kubernetes}/apiserver/etcd/client.key; timeout 20 etcdctl endpoint health"
        ),
        "registry: its client": answers(200, f"--cacert {registry}/ca.crt", pair(registry), where),
        "Ceph: administrator": (
            "timeout 30 ceph --connect-timeout 10 --name client.admin "
            "--keyring @/etc/ceph/ceph.client.admin.keyring mon stat"
        ),
        "Ceph: Glance": (
            "keyring=@/var/lib/jarvis/ceph/glance.keyring; "
            "name=$(sed -n 's/^\\[\\(.*\\)\\]$/\\1/p' $keyring | head -n 1); "
            'timeout 30 ceph --connect-timeout 10 --name "$name" --keyring $keyring mon stat'
        ),
    }
    for name, command in commands.items():
        ask = accepted(command)
        yield name, lambda ask=ask: ask(""), lambda ask=ask: ask(FORMER)


def _of_cluster(cloud: Cloud, former: Credentials, now: Credentials) -> Iterator[Probe]:
    def status(context: ssl.SSLContext, **headers: str) -> int:
        connection = http.client.HTTPSConnection(
            cloud.virtual_address, 6443, context=context, timeout=_SECONDS
        )
        try:
            connection.request("GET", "/api/v1/nodes", headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def by_certificate(one: Credentials) -> bool:
        return status(administrators_tls(now.kubeconfig, one.kubeconfig)) == 200

    def by_token(one: Credentials) -> bool:
        # 403: known, and allowed nothing; 401: not known.
        return status(clusters_tls(now.kubeconfig), Authorization=f"Bearer {one.token}") == 403

    yield "Kubernetes: administrator", lambda: by_certificate(now), lambda: by_certificate(former)
    yield "Kubernetes: a token of a service account", lambda: by_token(now), lambda: by_token(former)


def _of_services(cloud: Cloud, former: Credentials, now: Credentials) -> Iterator[Probe]:
    """Passwords of services: for the database, the queue and Keystone; and the administrator's."""
    for service in ("keystone", "glance"):
        for kind, variable, ask in (
            ("database", "OS_DATABASE__CONNECTION", _database_accepts),
            ("queue", "OS_DEFAULT__TRANSPORT_URL", _queue_accepts),
        ):
            new, old = (each.secrets[service][variable] for each in (now, former))
            yield (
                f"{kind}: {service}",
                lambda ask=ask, url=new: ask(cloud, url),
                lambda ask=ask, url=old: ask(cloud, url),
            )

    def administrator(one: Credentials) -> bool:
        auth = one.clouds["auth"]
        return _keystone_accepts(cloud, now, auth["username"], auth["password"])

    yield "Keystone: administrator", lambda: administrator(now), lambda: administrator(former)


def _parts(url: str) -> tuple[str, str, str]:
    """User, password and path of a URL."""
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or ""), parts.path


def _database_accepts(cloud: Cloud, url: str) -> bool:
    user, password, _ = _parts(url)
    trust = "--ssl-ca=/etc/mysql/jarvis/authority.pem --ssl-verify-server-cert"
    command = (
        "read -r MYSQL_PWD; export MYSQL_PWD; "
        f"mariadb --host=database.jarvis.internal --user={user} {trust} --execute 'SELECT 1'"
    )
    run = cloud.attempt_ssh(cloud.servers[0], command, f"{password}\n")
    assert run.returncode == 0 or "Access denied" in run.stderr, run.stderr
    return run.returncode == 0


def _queue_accepts(cloud: Cloud, url: str) -> bool:
    user, password, path = _parts(url)
    trust = cloud.ssh(cloud.servers[0], "cat /etc/rabbitmq/jarvis/authority.pem")
    context = ssl.create_default_context(cadata=trust)
    parameters = pika.ConnectionParameters(
        cloud.virtual_address,
        5671,
        path.lstrip("/") or "/",
        pika.PlainCredentials(user, password),
        ssl_options=pika.SSLOptions(context, "queue.jarvis.internal"),
        socket_timeout=10,
        stack_timeout=20,
    )
    try:
        pika.BlockingConnection(parameters).close()
    except ProbableAuthenticationError:
        return False
    return True


def _keystone_accepts(cloud: Cloud, now: Credentials, user: str, password: str) -> bool:
    url = urlsplit(now.clouds["auth"]["auth_url"])
    connection = http.client.HTTPSConnection(
        url.hostname or "",
        url.port or 443,
        context=ssl.create_default_context(cadata=now.authority),
        timeout=_SECONDS,
    )
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "password": password, "domain": {"id": "default"}}},
    }
    try:
        connection.request(
            "POST",
            f"{url.path}/auth/tokens",
            json.dumps({"auth": {"identity": identity}}),
            {"Content-Type": "application/json"},
        )
        status = connection.getresponse().status
    finally:
        connection.close()
    assert status in (201, 401), status
    return status == 201


def _gateway_is_trusted(cloud: Cloud, authority: str) -> bool:
    connection = http.client.HTTPSConnection(
        cloud.virtual_address, 443, context=ssl.create_default_context(cadata=authority), timeout=_SECONDS
    )
    try:
        connection.connect()
    except ssl.SSLCertVerificationError:
        return False
    finally:
        connection.close()
    return True
