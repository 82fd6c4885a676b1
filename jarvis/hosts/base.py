"""The base role of every server, as pure functions: packages, users, kernel settings and names."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from jarvis.config import Environment, Server, ServerRole, kernel
from jarvis.core.text import read_beside
from jarvis.hosts.deployment import MARK
from jarvis.hosts.firewall import firewall_files
from jarvis.openstack.catalogue import HOSTS
from jarvis.remote import Directory, File
from jarvis.remote.script import read_file
from jarvis.roles import ROLES, declared
from jarvis.roles.model import Pinned

TOOL = "/var/lib/jarvis/bin/host"
RELEASE_TOOL = "/var/lib/jarvis/bin/release"
STAGING = "/var/lib/jarvis/staging"
# A file with the names of lost servers, which storage and database do not wait for.
LOST = "/var/lib/jarvis/lost"

# Stateful services that each server has a proxy to (jarvis.stateful.link).
LINKS = ("database", "queue")

# The kubelet gives all pods together 1024 CPU shares for each core (systemd's weight of 100), and all units
# together had 100. Beside busy pods the database's health checks then took seconds, and its sessions were
# ended. https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/
_UNITS_FIRST = "[Slice]\nCPUWeight=1000\n"


def packages(server: Server) -> list[str]:
    """The Debian packages that ``server`` needs, sorted."""
    found = (each for role in declared(server.roles) for each in role.packages)
    return sorted({each.name if isinstance(each, Pinned) else each for each in found})


def pinned(server: Server) -> list[Pinned]:
    """Those of them of which only some versions may be installed, sorted."""
    found = (each for role in declared(server.roles) for each in role.packages)
    return sorted({each for each in found if isinstance(each, Pinned)})


def apt_preferences(server: Server) -> str:
    """The versions that APT may install, as a file of its preferences; empty where any will do.

    Of a package's records the first that a version fits counts. 990 is more than a release has, and less than
    what takes back a newer version; below 0 a version is never installed (apt_preferences(5)).
    """
    return "\n".join(
        f"Package: {name}\nPin: version {series}*\nPin-Priority: 990\n\n"
        f"Package: {name}\nPin: version *\nPin-Priority: -1\n"
        for name, series in pinned(server)
    )


def modules(server: Server) -> str:
    """Kernel modules in the form of modules-load.d(5)."""
    return "\n".join(dict.fromkeys(name for role in declared(server.roles) for name in role.modules))


def sysctls(server: Server) -> str:
    """Kernel settings in the form of sysctl.d(5). Those of the server win over those of its roles."""
    values = {name: one.value for name, one in kernel.sysctls(server.roles).items()} | server.sysctls
    return "".join(f"{key} = {value}\n" for key, value in sorted(values.items()))


def sysusers(server: Server) -> str:
    """System users in the form of sysusers.d(5): of required roles, and of those of ``server``."""
    users = [
        user for name, role in ROLES.items() if role.required or name in server.roles for user in role.users
    ]
    return "".join(f'u {one.name} - "Jarvis {one.name}" {one.home} /usr/sbin/nologin\n' for one in users)


def resolved(env: Environment) -> str:
    """Points systemd-resolved at CoreDNS for the cluster domain (resolved.conf(5))."""
    return f"[Resolve]\nDNS={env.networks.cluster_dns}\nDomains=~{env.networks.cluster_domain}\n"


def endpoint_names(env: Environment) -> list[str]:
    """Full names that servers resolve to the virtual address: of the Kubernetes API and of OpenStack's."""
    return _full(env, ["api", *HOSTS])


def _full(env: Environment, names: Sequence[str]) -> list[str]:
    return [f"{name}.{env.networks.domain}" for name in names]


def hosts_lines(env: Environment, server: Server) -> str:
    """The lines of hosts(5) for ``server``.

    They name all servers, the nearest registry, the endpoints, and the stateful services, which are reached
    through the server's own proxy.
    """
    lines = [f"{one.address} {one.name}" for one in env.present]
    registries = env.with_role(ServerRole.REGISTRY)
    if registries:
        nearest = server if server in registries else registries[0]
        lines.append(f"{nearest.address} registry.{env.networks.domain}")
    # The server gets this file before the holders get a new address: it must name one that answers by then.
    lines.append(f"{env.reach_address} {' '.join(endpoint_names(env))}")
    lines.append(f"{server.address} {' '.join(_full(env, LINKS))}")
    return "".join(f"{line}\n" for line in lines)


def base_files(env: Environment, server: Server, deployment: pulumi.Input[str]) -> list[File | Directory]:
    """The files of the base role of a server.

    Args:
        env: the environment.
        server: the server.
        deployment: id of the deployment that the server belongs to.
    """
    return [
        File(path=TOOL, content=read_file("host.sh"), mode="0755"),
        # The tool sources it. It is executable only because scripts travel by digest.
        File(path=f"{TOOL.rpartition('/')[0]}/packaged.sh", content=read_file("packaged.sh"), mode="0755"),
        Directory(path=STAGING, mode="0700"),
        # Before the next file: a server with a name and no id dates from before there were ids.
        File(path=MARK, content=deployment),
        *([File(path=LOST, content="\n".join(one.name for one in env.lost))] if env.lost else []),
        File(path="/var/lib/jarvis/cluster", content=f"{env.name} {server.name}"),
        File(path="/var/lib/jarvis/hosts", content=hosts_lines(env, server)),
        File(path="/var/lib/jarvis/sshd.conf", content=read_beside(__file__, "sshd.conf")),
        File(path="/etc/sysusers.d/jarvis.conf", content=sysusers(server)),
        File(path="/etc/modules-load.d/jarvis.conf", content=modules(server)),
        File(path="/etc/sysctl.d/90-jarvis.conf", content=sysctls(server)),
        File(path="/etc/systemd/resolved.conf.d/90-jarvis.conf", content=resolved(env)),
        File(path="/etc/systemd/system/system.slice.d/90-jarvis.conf", content=_UNITS_FIRST),
        # Without a limit the journal may take 4 GiB of disk (journald.conf(5)).
        File(path="/etc/systemd/journald.conf.d/90-jarvis.conf", content="[Journal]\nSystemMaxUse=1G\n"),
        *_pins(server),
        *_slow(env),
        *firewall_files(env, server),
    ]


def _pins(server: Server) -> list[File]:
    """The file of APT's preferences, which is there before packages are installed."""
    text = apt_preferences(server)
    return [File(path="/etc/apt/preferences.d/90-jarvis.pref", content=text)] if text else []


def _slow(env: Environment) -> list[File]:
    """Longer start timeouts of systemd where ``patience`` asks for them.

    Units that say nothing else have 90 s to start (systemd-system.conf(5)).
    """
    if env.patience == 1:
        return []
    text = f"[Manager]\nDefaultTimeoutStartSec={90 * env.patience}\n"
    return [File(path="/etc/systemd/system.conf.d/90-jarvis.conf", content=text)]
