"""What every server has before any role: packages, users, kernel settings and names, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from jarvis.config import Environment, Role, Server
from jarvis.config.kernel import NEEDED
from jarvis.core.text import read_beside
from jarvis.hosts.deployment import MARK
from jarvis.hosts.firewall import firewall_files
from jarvis.remote import Directory, File
from jarvis.remote.script import read_file

TOOL = "/var/lib/jarvis/bin/host"
RELEASE_TOOL = "/var/lib/jarvis/bin/release"
STAGING = "/var/lib/jarvis/staging"
# Names of the servers that are gone for good, which the storage and the database do not wait for.
LOST = "/var/lib/jarvis/lost"

# The names of the environment's domain that the virtual address has on the servers.
ENDPOINTS = ("api", "identity", "image")
# The stateful services that each server has a proxy to (jarvis.stateful.link).
LINKS = ("database", "queue")

_PACKAGES = (
    "ca-certificates",
    "conntrack",
    "haproxy",
    "iproute2",
    "kmod",
    "libnss-resolve",
    "nftables",
    "systemd-resolved",
)
_ROLE_PACKAGES = {
    Role.WORKER: ("ethtool", "iptables", "jq"),
    Role.CONTROL_PLANE: ("keepalived",),
    Role.GATEWAY: ("keepalived",),
    Role.DATABASE: ("mariadb-server", "galera-4", "mariadb-backup"),
    Role.STORAGE: ("ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd"),
    Role.QUEUE: ("rabbitmq-server",),
}
_MODULES = ("overlay", "squashfs", "loop", "bridge", "br_netfilter", "nf_conntrack", "nf_tables", "tun")
_SYSCTLS = {
    **{name: value for name, (value, _) in NEEDED.items()},
    # systemd, kubelet, containerd and every pod watch files; the kernel's 128 are used up by some dozens:
    # https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
    "fs.inotify.max_user_instances": "8192",
}
# The kubelet weighs all pods together by the cores of the server (1024 shares each, systemd's weight of 100);
# all units together had 100. Beside busy pods the database's health checks took seconds then, and its
# sessions were ended. https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/
_UNITS_FIRST = "[Slice]\nCPUWeight=1000\n"
# Each role that keeps data or listens has a user of its own; MariaDB and HAProxy bring theirs.
_USERS = {
    "etcd": "/var/lib/etcd",
    "kubernetes": "/var/lib/kubernetes",
    "registry": "/var/lib/registry",
}


def packages(server: Server) -> list[str]:
    """The Debian packages that ``server`` needs, in order."""
    found = set(_PACKAGES)
    for role in server.roles:
        found.update(_ROLE_PACKAGES.get(role, ()))
    return sorted(found)


def sysctls(server: Server) -> str:
    """The kernel settings of ``server``, its own before the common ones, as sysctl.d(5) reads them."""
    values = _SYSCTLS | server.sysctls
    return "".join(f"{key} = {value}\n" for key, value in sorted(values.items()))


def sysusers() -> str:
    """The users of the roles, as sysusers.d(5) reads them."""
    return "".join(f'u {name} - "Jarvis {name}" {home} /usr/sbin/nologin\n' for name, home in _USERS.items())


def resolved(env: Environment) -> str:
    """Names of the cluster's domain are asked of its own DNS, from the servers too (resolved.conf(5))."""
    return f"[Resolve]\nDNS={env.networks.cluster_dns}\nDomains=~{env.networks.cluster_domain}\n"


def endpoint_names(env: Environment, endpoints: Sequence[str] = ENDPOINTS) -> list[str]:
    """The full names of ``endpoints`` in the environment's domain."""
    return [f"{name}.{env.networks.domain}" for name in endpoints]


def hosts_lines(env: Environment, server: Server) -> str:
    """The lines of hosts(5) for all servers, the registry nearest to ``server``, the endpoints, and the
    stateful services, which are reached through the server's own proxy."""
    lines = [f"{one.address} {one.name}" for one in env.present]
    registries = env.with_role(Role.REGISTRY)
    if registries:
        nearest = server if server in registries else registries[0]
        lines.append(f"{nearest.address} registry.{env.networks.domain}")
    # The server learns its names before the holders learn a new address: what answers by then.
    lines.append(f"{env.reach_address} {' '.join(endpoint_names(env))}")
    lines.append(f"{server.address} {' '.join(endpoint_names(env, LINKS))}")
    return "".join(f"{line}\n" for line in lines)


def base_files(env: Environment, server: Server, deployment: pulumi.Input[str]) -> list[File | Directory]:
    """The files of the base role of ``server``, which belongs to the ``deployment`` of this id."""
    return [
        File(path=TOOL, content=read_file("host.sh"), mode="0755"),
        # Which the tool reads; executable only because scripts go by digest.
        File(path=f"{TOOL.rpartition('/')[0]}/packaged.sh", content=read_file("packaged.sh"), mode="0755"),
        Directory(path=STAGING, mode="0700"),
        # Before the next one: a server with a name and no id is one of before there were ids.
        File(path=MARK, content=deployment),
        *([File(path=LOST, content="\n".join(one.name for one in env.lost))] if env.lost else []),
        File(path="/var/lib/jarvis/cluster", content=f"{env.name} {server.name}"),
        File(path="/var/lib/jarvis/hosts", content=hosts_lines(env, server)),
        File(path="/var/lib/jarvis/sshd.conf", content=read_beside(__file__, "sshd.conf")),
        File(path="/etc/sysusers.d/jarvis.conf", content=sysusers()),
        File(path="/etc/modules-load.d/jarvis.conf", content="\n".join(_MODULES)),
        File(path="/etc/sysctl.d/90-jarvis.conf", content=sysctls(server)),
        File(path="/etc/systemd/resolved.conf.d/90-jarvis.conf", content=resolved(env)),
        File(path="/etc/systemd/system/system.slice.d/90-jarvis.conf", content=_UNITS_FIRST),
        # Without a limit the journal may take 4 GiB of the disk (journald.conf(5)).
        File(path="/etc/systemd/journald.conf.d/90-jarvis.conf", content="[Journal]\nSystemMaxUse=1G\n"),
        *_slow(env),
        *firewall_files(env, server),
    ]


def _slow(env: Environment) -> list[File]:
    """What systemd is told where everything takes longer: its units have 90 s to start, unless they say
    otherwise (systemd-system.conf(5))."""
    if env.patience == 1:
        return []
    text = f"[Manager]\nDefaultTimeoutStartSec={90 * env.patience}\n"
    return [File(path="/etc/systemd/system.conf.d/90-jarvis.conf", content=text)]
