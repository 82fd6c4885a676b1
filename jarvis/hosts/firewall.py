"""The firewall of a server: nftables rules that follow from roles, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jarvis.config import Environment, Server, ServerRole
from jarvis.core.text import read_beside
from jarvis.remote import File
from jarvis.remote.script import read_file

TOOL = "/var/lib/jarvis/bin/firewall"
RULES = "/etc/jarvis/firewall.nft"
UNIT = "jarvis-firewall.service"
# Limit of new SSH connections from one source: a burst, then a rate. Each costs the server work before
# anybody has logged in (CVE-2002-20001); ssh-audit wants fewer than 20 a second in 1.5. What exceeds it is
# dropped, and gets through when TCP retries, a second later (RFC 6298).
SSH_BURST, SSH_PER_SECOND = 16, 8


@dataclass(frozen=True, kw_only=True)
class Opening:
    """TCP ports that the firewall opens.

    Attributes:
        use: what for.
        ports: numbers, or ranges such as 6800-7300.
        sources: addresses and networks that may connect; ``None`` is everyone.
    """

    use: str
    ports: Sequence[int | str]
    sources: Sequence[str] | None

    def line(self) -> str:
        """The nftables rule; empty where there is no source."""
        if self.sources is not None and not self.sources:
            return ""
        source = "" if self.sources is None else f"ip saddr {_set(self.sources)} "
        return f'{source}tcp dport {_set(self.ports)} accept comment "{self.use}"'


def _set(items: Iterable[object]) -> str:
    return "{ " + ", ".join(map(str, items)) + " }"


def openings(env: Environment, server: Server) -> list[Opening]:
    """The openings of ``server``, SSH first.

    Ports are from each part's own documentation. Members of a cluster are open to each other, and what has a
    proxy in front (`jarvis.stateful.link`) to all servers, since each of them has the proxy.
    """
    firewall = env.firewall
    servers = [str(one.address) for one in env.present]
    pods = str(env.networks.pods)
    operators = [str(one) for one in firewall.operators] or None
    own = server.roles

    def having(*roles: ServerRole) -> list[str]:
        return [str(one.address) for one in env.present if one.roles & set(roles)]

    found = [
        Opening(use="SSH", ports=[server.port or env.ssh.port], sources=operators),
        Opening(
            use="links to stateful services",
            ports=[3306, 5671],
            sources=[*servers, pods, *map(str, firewall.clients)],
        ),
    ]
    if ServerRole.ETCD in own:
        found += [
            Opening(
                use="etcd clients", ports=[2379], sources=having(ServerRole.ETCD, ServerRole.CONTROL_PLANE)
            ),
            Opening(use="etcd members", ports=[2380], sources=having(ServerRole.ETCD)),
        ]
    if own & {ServerRole.CONTROL_PLANE, ServerRole.GATEWAY}:
        found.append(Opening(use="Kubernetes API", ports=[6443], sources=None))
    if ServerRole.GATEWAY in own:
        found.append(Opening(use="HTTP gateway", ports=[env.gateway.https_port], sources=None))
    if ServerRole.WORKER in own:
        found.append(Opening(use="kubelet", ports=[10250], sources=having(ServerRole.CONTROL_PLANE)))
    if ServerRole.REGISTRY in own:
        sources = None if operators is None else [*servers, *operators]
        found.append(Opening(use="registry", ports=[env.registry.port], sources=sources))
    if ServerRole.DATABASE in own:
        found += [
            Opening(use="MariaDB and its health", ports=[3307, 3308], sources=servers),
            Opening(use="Galera", ports=[3309, 4444, 4567, 4568], sources=having(ServerRole.DATABASE)),
        ]
    if ServerRole.QUEUE in own:
        found += [
            Opening(use="RabbitMQ", ports=[5673], sources=servers),
            # Members connect to tools directly, on the ports that tools listen on while they run.
            Opening(
                use="RabbitMQ members and tools",
                ports=[4369, 25672, "35672-35682"],
                sources=having(ServerRole.QUEUE),
            ),
        ]
    if ServerRole.STORAGE in own:
        found.append(Opening(use="Ceph", ports=[3300, 6789, "6800-7300"], sources=[*servers, pods]))
    found += [
        Opening(use="configuration, firewall.ports", ports=[port], sources=[str(one) for one in networks])
        for port, networks in sorted(firewall.ports.items())
    ]
    return found


def ruleset(env: Environment, server: Server) -> str:
    """The nftables rules for traffic to ``server`` itself; traffic of pods only passes through.

    It is one transaction on a table of Jarvis' own. Rules of kube-proxy and others stay untouched.
    """
    port = server.port or env.ssh.port
    ssh, *rest = [line for one in openings(env, server) if (line := one.line())]
    holders = [str(one.address) for one in env.with_role(ServerRole.GATEWAY)]
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


# A source of SSH connections, by nftables' name of the family: an address, and in IPv6 a network (RFC 6177).
_FAMILIES = {"ip": "ip saddr", "ip6": "ip6 saddr & ffff:ffff:ffff:ffff::"}


def _ssh_sources(family: str) -> str:
    """The set of sources that opened an SSH connection within the last minute."""
    kind = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}[family]
    return f"  set ssh-{family} {{\n    type {kind}; size 65535; flags dynamic,timeout; timeout 1m;\n  }}\n"


def _ssh_limit(family: str, port: int) -> str:
    """The rule that drops SSH connections beyond one source's limit."""
    limit = f"limit rate over {SSH_PER_SECOND}/second burst {SSH_BURST} packets"
    return (
        f"tcp dport {port} ct state new update @ssh-{family} {{ {_FAMILIES[family]} {limit} }} counter drop"
    )


def lost_lines(env: Environment) -> list[str]:
    """Rules that drop everything from lost servers and their pods.

    They come before any other rule, so that credentials on a lost server are of no use from its own address,
    on any port.
    """
    return [
        f'ip saddr {_set([one.address, env.pod_subnet(one)])} drop comment "{one.name} is lost"'
        for one in env.lost
    ]


def _lost_forward(env: Environment) -> str:
    """The chain that drops the same towards pods of this server; empty where no server is lost."""
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
