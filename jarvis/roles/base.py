"""What every server has, whatever its roles."""

from __future__ import annotations

from jarvis.roles.model import HostRole, Listens, Opening, Source, Sysctl

_LINKS = Opening(use="links to stateful services", sources=(Source.SERVERS, Source.PODS, Source.CLIENTS))

# Not in ``servers[].roles``. SSH is not here: its port may be the server's own (`jarvis.config.ports`).
BASE = HostRole(
    name="base",
    required=True,
    packages=(
        "ca-certificates",
        "conntrack",
        "haproxy",
        "iproute2",
        "kmod",
        "libnss-resolve",
        "nftables",
        "systemd-resolved",
    ),
    # preflight.sh looks for each of them.
    modules=("overlay", "squashfs", "loop", "bridge", "br_netfilter", "nf_conntrack", "nf_tables", "tun"),
    sysctls=(
        # https://kubernetes.io/docs/setup/production-environment/container-runtimes/
        Sysctl(name="net.ipv4.ip_forward", value="1", why="pods are routed"),
        Sysctl(
            name="net.bridge.bridge-nf-call-iptables",
            value="1",
            why="what goes through a bridge must see the rules of Services",
        ),
        # systemd, kubelet, containerd and every pod watch files: a few dozen pods use up the kernel's 128.
        # https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files
        Sysctl(name="fs.inotify.max_user_instances", value="8192"),
    ),
    listens=(
        Listens(whose="the proxy to the database", ports=(3306,), opening=_LINKS),
        Listens(whose="the proxy to the queue", ports=(5671,), opening=_LINKS),
        Listens(whose="systemd-resolved", ports=(53,), always=False),
    ),
)
