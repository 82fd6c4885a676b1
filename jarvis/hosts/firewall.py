"""Who may speak to a server: nftables rules that follow from roles, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jarvis.config import Environment, Role, Server
from jarvis.core.text import read_beside
from jarvis.remote import File
from jarvis.remote.script import read_file

TOOL = "/var/lib/jarvis/bin/firewall"
RULES = "/etc/jarvis/firewall.nft"
UNIT = "jarvis-firewall.service"
# New connections to SSH that one source may open: so many at once, and then so many a second. Each makes the
# server compute before anybody has logged in (CVE-2002-20001); ssh-audit wants fewer than 20 a second in 1.5.
# What is more is dropped, and comes through when TCP tries again, a second later (RFC 6298).
SSH_BURST, SSH_PER_SECOND = 16, 8


@dataclass(frozen=True, kw_only=True)
class Opening:
    """TCP ``ports`` (numbers, or ranges such as 6800-7300) for ``sources``, addresses and networks; None is
    everyone. ``use``: what for."""

    use: str
    ports: Sequence[int | str]
    sources: Sequence[str] | None

    def line(self) -> str:
        """The rule. Without any source there is none."""
        if self.sources is not None and not self.sources:
            return ""
        source = "" if self.sources is None else f"ip saddr {_set(self.sources)} "
        return f'{source}tcp dport {_set(self.ports)} accept comment "{self.use}"'


def _set(items: Iterable[object]) -> str:
    return "{ " + ", ".join(map(str, items)) + " }"


def openings(env: Environment, server: Server) -> list[Opening]:
    """What is open on ``server``, SSH first.

    The ports are those of each part's own documentation; members of a cluster speak to members, and what has
    a proxy in front (`jarvis.stateful.link`) to the servers, where all proxies are.
    """
    firewall = env.firewall
    servers = [str(one.address) for one in env.present]
    pods = str(env.networks.pods)
    operators = [str(one) for one in firewall.operators] or None
    own = server.roles

    def having(*roles: Role) -> list[str]:
        return [str(one.address) for one in env.present if one.roles & set(roles)]

    found = [
        Opening(use="SSH", ports=[server.port or env.ssh.port], sources=operators),
        Opening(
            use="links to stateful services",
            ports=[3306, 5671],
            sources=[*servers, pods, *map(str, firewall.clients)],
        ),
    ]
    if Role.ETCD in own:
        found += [
            Opening(use="etcd clients", ports=[2379], sources=having(Role.ETCD, Role.CONTROL_PLANE)),
            Opening(use="etcd members", ports=[2380], sources=having(Role.ETCD)),
        ]
    if own & {Role.CONTROL_PLANE, Role.GATEWAY}:
        found.append(Opening(use="Kubernetes API", ports=[6443], sources=None))
    if Role.GATEWAY in own:
        found.append(Opening(use="HTTP gateway", ports=[env.gateway.https_port], sources=None))
    if Role.WORKER in own:
        found.append(Opening(use="kubelet", ports=[10250], sources=having(Role.CONTROL_PLANE)))
    if Role.REGISTRY in own:
        sources = None if operators is None else [*servers, *operators]
        found.append(Opening(use="registry", ports=[env.registry.port], sources=sources))
    if Role.DATABASE in own:
        found += [
            Opening(use="MariaDB and its health", ports=[3307, 3308], sources=servers),
            Opening(use="Galera", ports=[3309, 4444, 4567, 4568], sources=having(Role.DATABASE)),
        ]
    if Role.QUEUE in own:
        found += [
            Opening(use="RabbitMQ", ports=[5673], sources=servers),
            # Members answer their tools directly, on the ports that those listen on while they run.
            Opening(
                use="RabbitMQ members and tools",
                ports=[4369, 25672, "35672-35682"],
                sources=having(Role.QUEUE),
            ),
        ]
    if Role.STORAGE in own:
        found.append(Opening(use="Ceph", ports=[3300, 6789, "6800-7300"], sources=[*servers, pods]))
    found += [
        Opening(use="configuration, firewall.ports", ports=[port], sources=[str(one) for one in networks])
        for port, networks in sorted(firewall.ports.items())
    ]
    return found


def ruleset(env: Environment, server: Server) -> str:
    """nftables' rules for what comes in to ``server`` itself: pods' traffic only passes through.

    One transaction, of one table of our own: neither kube-proxy's rules nor anyone else's are touched.
    """
    port = server.port or env.ssh.port
    ssh, *rest = [line for one in openings(env, server) if (line := one.line())]
    holders = [str(one.address) for one in env.with_role(Role.GATEWAY)]
    lines = [
        *lost_lines(env),
        *(_ssh_limit(family, port) for family in _FAMILIES),
        ssh,
        "ct state established,related accept",
        'iifname "lo" accept',
        "meta l4proto { icmp, ipv6-icmp } accept",
        'udp sport 67 udp dport 68 accept comment "DHCP"',
        *([f'ip saddr {_set(holders)} ip protocol 112 accept comment "VRRP"'] if holders else []),
        *rest,
        "counter reject with icmpx admin-prohibited",
    ]
    body = "".join(f"    {line}\n" for line in lines)
    return (
        "# Who may speak to this server; it follows from roles, see jarvis/hosts/firewall.py.\n"
        "table inet jarvis\n"
        "delete table inet jarvis\n"
        "table inet jarvis {\n"
        f"{''.join(_ssh_sources(family) for family in _FAMILIES)}"
        "  chain input {\n"
        "    type filter hook input priority filter; policy accept;\n"
        f"{body}"
        "  }\n"
        f"{_lost_forward(env)}"
        "}\n"
    )


# By nftables' name of the family, and of what one source of it is: of IPv6 it has a network (RFC 6177).
_FAMILIES = {"ip": "ip saddr", "ip6": "ip6 saddr & ffff:ffff:ffff:ffff::"}


def _ssh_sources(family: str) -> str:
    """The set of those who came by SSH within the minute."""
    kind = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}[family]
    return f"  set ssh-{family} {{\n    type {kind}; size 65535; flags dynamic,timeout; timeout 1m;\n  }}\n"


def _ssh_limit(family: str, port: int) -> str:
    """The rule that drops what is too much of one source."""
    limit = f"limit rate over {SSH_PER_SECOND}/second burst {SSH_BURST} packets"
    return (
        f"tcp dport {port} ct state new update @ssh-{family} {{ {_FAMILIES[family]} {limit} }} counter drop"
    )


def lost_lines(env: Environment) -> list[str]:
    """What drops all that comes from a lost server and its pods, before any other rule: what it holds is
    good for nothing from its own address, whichever port it tries."""
    return [
        f'ip saddr {_set([one.address, env.pod_subnet(one)])} drop comment "{one.name} is lost"'
        for one in env.lost
    ]


def _lost_forward(env: Environment) -> str:
    """The same for what passes through, to pods of this server; nothing where no server is lost."""
    if not env.lost:
        return ""
    body = "".join(f"    {line}\n" for line in lost_lines(env))
    return f"  chain forward {{\n    type filter hook forward priority filter; policy accept;\n{body}  }}\n"


def operator_networks(env: Environment) -> str:
    """The networks that SSH is open to, separated by commas; empty for all."""
    return ",".join(map(str, env.firewall.operators))


def firewall_files(env: Environment, server: Server) -> list[File]:
    """The files of the firewall of ``server``."""
    return [
        File(path=RULES, content=ruleset(env, server)),
        File(path=TOOL, content=read_file("firewall/firewall.sh"), mode="0755"),
        File(path=f"/etc/systemd/system/{UNIT}", content=read_beside(__file__, "firewall.service")),
    ]
