"""The control plane on one server: API server, controller manager and scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment, Server
from jarvis.config.types import Option
from jarvis.core.component import Component
from jarvis.core.text import fill_beside, read_beside
from jarvis.core.tls import CIPHER_SUITES
from jarvis.kubernetes.flags import command_line, merge_flags
from jarvis.kubernetes.identity import FRONT_PROXY_CLIENT, Identities, credentials
from jarvis.kubernetes.kubeconfig import file_kubeconfig
from jarvis.kubernetes.load_balancer import READY
from jarvis.kubernetes.lost import authorization, lost_nodes, nobody_kubeconfig
from jarvis.remote import Directory, File, HostService, HostServiceArgs
from jarvis.remote.script import read_file

# Seconds for an API server to become ready, since it may have to wait for an election of etcd.
_START_SECONDS = 120

if TYPE_CHECKING:
    from jarvis.hosts import Host
    from jarvis.pki import Certificate

PORT = 6443
USER = "kubernetes"
OWNER = f"{USER}:{USER}"
APISERVER = "/etc/kubernetes/apiserver"
CONTROLLERS = "/etc/kubernetes/controllers"
LOGS = "/var/log/kubernetes"
# A command that gives the virtual address away before the API server stops; called by its unit.
HAND_OVER = "/var/lib/jarvis/bin/hand-over"
# A command that succeeds when this server's API server is ready and the API answers under the virtual
# address.
SERVING = "/var/lib/jarvis/bin/apiserver-serving"
AUTHORIZATION, NOBODY = f"{APISERVER}/authorization.json", f"{APISERVER}/nobody.kubeconfig"

# Admission plugins beside the default ones. Nothing here uses `externalIPs`, by which a Service could take
# another's traffic (CVE-2020-8554). The limits of events are in admission.yaml.
ADMISSION = ("NodeRestriction", "DenyServiceExternalIPs", "EventRateLimit")

# A server that stops answering leaves Services after NODE_GRACE, and its pods are replaced elsewhere EVICTION
# later. Kubernetes' defaults are 50 and 300 seconds. The kubelet renews its lease every quarter of
# NODE_LEASE, so four renewals must be missed.
NODE_LEASE_SECONDS = 20
NODE_GRACE_SECONDS = 20
EVICTION_SECONDS = 30
# Longer than a load balancer takes to see that /readyz fails (load_balancer.py checks each second).
SHUTDOWN_DELAY_SECONDS = 3
# Seconds in which watches are ended. By default a stopping API server waits for clients to end them, which
# they do not, and systemd killed it after 20 s. With 12 connections it took 5.7 s from stop to ready, and 22
# without this. https://github.com/kubernetes/kubernetes/pull/114925
WATCH_DRAIN_SECONDS = 5


def apiserver_flags(
    env: Environment, server: Server, etcd_endpoints: Sequence[str], extra: Mapping[str, Option]
) -> dict[str, str]:
    """Flags of the API server on ``server``; those of ``extra`` win.

    Numbers without a name here are from the CIS Kubernetes Benchmark 1.12, section 1.2 (audit log).
    """
    own: dict[str, Option] = {
        "advertise-address": str(server.address),
        "secure-port": PORT,
        "allow-privileged": True,
        "anonymous-auth": False,
        **(
            {"authorization-config": AUTHORIZATION}
            if lost_nodes(env)
            else {"authorization-mode": "Node,RBAC"}
        ),
        "enable-admission-plugins": ",".join(ADMISSION),
        "admission-control-config-file": f"{APISERVER}/admission.yaml",
        "audit-policy-file": f"{APISERVER}/audit-policy.yaml",
        "audit-log-path": f"{LOGS}/audit.log",
        "audit-log-maxage": 30,
        "audit-log-maxbackup": 10,
        "audit-log-maxsize": 100,
        "client-ca-file": f"{APISERVER}/ca.crt",
        "tls-cert-file": f"{APISERVER}/server.crt",
        "tls-private-key-file": f"{APISERVER}/server.key",
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": ",".join(CIPHER_SUITES),
        "etcd-servers": ",".join(etcd_endpoints),
        "etcd-cafile": f"{APISERVER}/etcd/ca.crt",
        "etcd-certfile": f"{APISERVER}/etcd/client.crt",
        "etcd-keyfile": f"{APISERVER}/etcd/client.key",
        "encryption-provider-config": f"{APISERVER}/encryption.json",
        # Pods get tokens of an hour and renew them in time. With the extension a stolen token would be valid
        # for a year.
        "service-account-extend-token-expiration": False,
        "service-account-issuer": f"https://kubernetes.default.svc.{env.networks.cluster_domain}",
        "service-account-key-file": f"{APISERVER}/service-accounts.pub",
        "service-account-signing-key-file": f"{APISERVER}/service-accounts.key",
        "service-cluster-ip-range": str(env.networks.services),
        "kubelet-certificate-authority": f"{APISERVER}/ca.crt",
        "kubelet-client-certificate": f"{APISERVER}/kubelet/client.crt",
        "kubelet-client-key": f"{APISERVER}/kubelet/client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": f"{APISERVER}/front-proxy/ca.crt",
        "requestheader-allowed-names": FRONT_PROXY_CLIENT,
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": f"{APISERVER}/front-proxy/client.crt",
        "proxy-client-key-file": f"{APISERVER}/front-proxy/client.key",
        "default-not-ready-toleration-seconds": EVICTION_SECONDS,
        "default-unreachable-toleration-seconds": EVICTION_SECONDS,
        "shutdown-delay-duration": f"{SHUTDOWN_DELAY_SECONDS}s",
        "shutdown-watch-termination-grace-period": f"{WATCH_DRAIN_SECONDS}s",
        "profiling": False,
    }
    return merge_flags(own, extra)


def controller_manager_flags(env: Environment, extra: Mapping[str, Option]) -> dict[str, str]:
    """Flags of the controller manager; those of ``extra`` win.

    It has no authority's key, since all certificates come from `jarvis.pki`. Nor does it assign pod networks,
    which the configuration does (`network.py`).
    """
    own: dict[str, Option] = {
        **_controller("controller-manager", env.patience),
        "allocate-node-cidrs": False,
        "cluster-name": env.name,
        "controllers": "*,-certificatesigningrequest-signing-controller",
        "node-monitor-grace-period": f"{NODE_GRACE_SECONDS}s",
        "root-ca-file": f"{CONTROLLERS}/controller-manager/ca.crt",
        "service-account-private-key-file": f"{CONTROLLERS}/service-accounts.key",
        "use-service-account-credentials": True,
    }
    return merge_flags(own, extra)


def scheduler_flags(env: Environment, extra: Mapping[str, Option]) -> dict[str, str]:
    """Flags of the scheduler; those of ``extra`` win."""
    return merge_flags(_controller("scheduler", env.patience), extra)


def _controller(name: str, patience: int) -> dict[str, Option]:
    kubeconfig = f"{CONTROLLERS}/{name}/kubeconfig"
    return {
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "leader-elect": True,
        "profiling": False,
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": ",".join(CIPHER_SUITES),
        **(_slow_lease(patience) if patience > 1 else {}),
    }


def _slow_lease(patience: int) -> dict[str, Option]:
    """Kubernetes' own lease times (kube-scheduler --help), ``patience`` times as long.

    A leader that cannot renew its lease in time exits.
    """
    return {
        "leader-elect-lease-duration": f"{15 * patience}s",
        "leader-elect-renew-deadline": f"{10 * patience}s",
        "leader-elect-retry-period": f"{2 * patience}s",
    }


@dataclass(frozen=True, kw_only=True)
class ControlPlaneServerArgs:
    """The control plane of one server.

    Attributes:
        host: the server.
        env: the environment.
        identities: certificates and keys of the cluster.
        peers: addresses of the other API servers, one of which must be ready before this one restarts.
        etcd_endpoints: client URLs of etcd.
        etcd_authority: certificates of etcd's authority in PEM.
        etcd_client: client certificate for etcd.
        after_apiserver: resources that the API server waits for: etcd, the server before, the health client.
        after_controllers: resources that the controllers wait for, beside their own API server.
    """

    host: Host
    env: Environment
    identities: Identities
    peers: Sequence[str]
    etcd_endpoints: Sequence[str]
    etcd_authority: pulumi.Input[str]
    etcd_client: Certificate
    after_apiserver: Sequence[pulumi.Resource] = ()
    after_controllers: Sequence[pulumi.Resource] = ()


class ControlPlaneServer(Component, token="kubernetes:ControlPlaneServer"):
    """The API server of one server, its controller manager and its scheduler.

    Of all servers' controller managers one leads, and so of the schedulers.

    Attributes:
        apiserver_ready: the API server's role.
        controllers_ready: the role of controller manager and scheduler.
    """

    apiserver_ready: HostService
    controllers_ready: HostService

    def __init__(
        self, name: str, args: ControlPlaneServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        self.apiserver_ready = self._apiserver(name, args)
        self.controllers_ready = self._controllers(name, args)
        self.register_outputs({})

    def _apiserver(self, name: str, args: ControlPlaneServerArgs) -> HostService:
        env, server, identities = args.env, args.host.server, args.identities
        ca = identities.authority.certificate
        serving = identities.server(
            f"apiserver-{server.name}", "kube-apiserver", *apiserver_names(env, server)
        )
        parts = [
            credentials(APISERVER, ca, serving, OWNER, "server"),
            credentials(f"{APISERVER}/etcd", args.etcd_authority, args.etcd_client, OWNER),
            credentials(f"{APISERVER}/kubelet", ca, identities.kubelet_client, OWNER),
            credentials(
                f"{APISERVER}/front-proxy",
                identities.front_proxy.certificate,
                identities.front_proxy_client,
                OWNER,
            ),
        ]
        flags = apiserver_flags(env, server, args.etcd_endpoints, env.kubernetes.apiserver_flags)
        peers = " ".join(f"{peer}:{PORT}" for peer in args.peers)
        # Holders get a new address after the API servers do, so these wait for the address that answers
        # already.
        address = f"{env.reach_address}:{PORT}"
        return HostService(
            f"{name}-apiserver",
            "kube-apiserver",
            HostServiceArgs(
                target=args.host.target,
                files=[
                    Directory(path=LOGS, mode="0750", owner=OWNER),
                    File(
                        path="/etc/systemd/system/kube-apiserver.service",
                        content=fill_beside(
                            __file__,
                            "kube-apiserver.service",
                            lines={"command": command_line("/usr/bin/kube-apiserver", flags)},
                            address=address,
                            start_seconds=str(_START_SECONDS * env.patience),
                        ),
                    ),
                    *(
                        File(path=path, content=read_file(f"kubernetes/{script}"), mode="0755")
                        for path, script in ((HAND_OVER, "hand-over.sh"), (SERVING, "apiserver-serving.sh"))
                    ),
                    File(
                        path=f"{APISERVER}/admission.yaml",
                        content=read_beside(__file__, "admission.yaml"),
                    ),
                    File(
                        path=f"{APISERVER}/audit-policy.yaml",
                        content=read_beside(__file__, "audit-policy.yaml"),
                    ),
                    *_refused(env),
                    File(
                        path=f"{APISERVER}/service-accounts.pub",
                        content=identities.service_accounts.public,
                    ),
                    *(file for clear, _ in parts for file in clear),
                ],
                secret_files=[
                    _secret(f"{APISERVER}/encryption.json", identities.encryption),
                    _secret(f"{APISERVER}/service-accounts.key", identities.service_accounts.private),
                    *(file for _, secret in parts for file in secret),
                ],
                units=["kube-apiserver.service"],
                inputs=[args.host.release],
                gate=f"{READY} {peers}" if peers else None,
                ready=f"{SERVING} {address}",
                timeout=_START_SECONDS,
                purge=[LOGS],
            ),
            self.child(depends_on=[args.host, *args.after_apiserver]),
        )

    def _controllers(self, name: str, args: ControlPlaneServerArgs) -> HostService:
        env, identities = args.env, args.identities
        programs = {
            "controller-manager": (
                identities.controller_manager,
                controller_manager_flags(env, env.kubernetes.controller_manager_flags),
            ),
            "scheduler": (identities.scheduler, scheduler_flags(env, env.kubernetes.scheduler_flags)),
        }
        files: list[File | Directory] = [
            File(
                path="/var/lib/jarvis/bin/controllers-ready",
                content=read_file("kubernetes/controllers-ready.sh"),
                mode="0755",
            )
        ]
        secret_files = [_secret(f"{CONTROLLERS}/service-accounts.key", identities.service_accounts.private)]
        for program, (pair, flags) in programs.items():
            folder = f"{CONTROLLERS}/{program}"
            clear, secret = credentials(folder, identities.authority.certificate, pair, OWNER)
            line = command_line(f"/usr/bin/kube-{program}", flags)
            files += [
                File(
                    path=f"/etc/systemd/system/kube-{program}.service",
                    content=fill_beside(
                        __file__, "kube-controller.service", lines={"command": line}, program=program
                    ),
                ),
                File(path=f"{folder}/kubeconfig", content=file_kubeconfig(f"kube-{program}", folder)),
                *clear,
            ]
            secret_files += secret
        return HostService(
            f"{name}-controllers",
            "kube-controllers",
            HostServiceArgs(
                target=args.host.target,
                files=files,
                secret_files=secret_files,
                units=[f"kube-{program}.service" for program in programs],
                inputs=[args.host.release],
                ready="/var/lib/jarvis/bin/controllers-ready",
            ),
            self.child(depends_on=[args.host, self.apiserver_ready, *args.after_controllers]),
        )


def _refused(env: Environment) -> list[File]:
    """Files by which the API server refuses lost nodes; none where no node is lost."""
    nodes = lost_nodes(env)
    if not nodes:
        return []
    return [
        File(path=AUTHORIZATION, content=authorization(nodes, NOBODY)),
        File(path=NOBODY, content=nobody_kubeconfig()),
    ]


def apiserver_names(env: Environment, server: Server) -> tuple[list[str], list[str]]:
    """DNS names and addresses of the API server on ``server``, for its certificate."""
    service = "kubernetes.default.svc"
    names = ["kubernetes", "kubernetes.default", service, f"{service}.{env.networks.cluster_domain}"]
    # The servers' own name for the virtual address (jarvis.hosts.base).
    names.append(f"api.{env.networks.domain}")
    addresses = [
        str(address) for address in (env.networks.kubernetes_service, *env.held_addresses, server.address)
    ]
    return [*names, "localhost", server.name], [*addresses, "127.0.0.1"]


def _secret(path: str, content: pulumi.Input[str]) -> File:
    return File(path=path, content=content, mode="0600", owner=OWNER)
