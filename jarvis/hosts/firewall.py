"""The firewall of a server: nftables rules that follow from roles, as pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jarvis.config import Environment, Server, ServerRole
from jarvis.core.text import read_beside
from jarvis.remote import File
from jarvis.remote.script import read_file
from jarvis.roles import declared
from jarvis.roles.model import Opening, Protocol, Range, Setting, Source

TOOL = "/var/lib/jarvis/bin/firewall"
RULES = "/etc/jarvis/firewall.nft"
UNIT = "jarvis-firewall.service"
# Limit of new SSH connections from one source: a burst, then a rate. Each costs the server work before
# anybody has logged in (CVE-2002-20001); ssh-audit wants fewer than 20 a second in 1.5. What exceeds it is
# dropped, and gets through when TCP retries, a second later (RFC 6298).
SSH_BURST, SSH_PER_SECOND = 16, 8


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Ports that the firewall opens.

    Attributes:
        use: what for.
        ports: numbers, or ranges such as 6800-7300.
        sources: addresses and networks that may connect; ``None`` is everyone.
        protocol: TCP or UDP.
    """

    use: str
    ports: Sequence[int | str]
    sources: Sequence[str] | None
    protocol: Protocol = "tcp"

    def line(self) -> str:
        """The nftables rule; empty where there is no source."""
        if self.sources is not None and not self.sources:
            return ""
        source = "" if self.sources is None else f"ip saddr {_set(self.sources)} "
        return f'{source}{self.protocol} dport {_set(self.ports)} accept comment "{self.use}"'


def _set(items: Iterable[object]) -> str:
    return "{ " + ", ".join(map(str, items)) + " }"


def openings(env: Environment, server: Server) -> list[Rule]:
    """What ``server`` lets in, SSH first.

    Members of a cluster are open to each other, and what has a proxy in front (`jarvis.stateful.link`) to all
    servers, since each of them has the proxy.
    """
    ssh = Opening(use="SSH", sources=(Source.OPERATORS,))
    found = [Rule(use=ssh.use, ports=[server.port or env.ssh.port], sources=sources(env, ssh))]
    by_opening: dict[tuple[Opening, Protocol], set[Range]] = defaultdict(set)
    for role in declared(server.roles):
        for one in role.listens:
            if one.opening:
                by_opening[one.opening, one.protocol] |= {_range(env, port) for port in one.ports}
    found += [
        Rule(use=one.use, ports=_numbers(ports), sources=sources(env, one), protocol=protocol)
        for (one, protocol), ports in by_opening.items()
    ]
    found += [
        Rule(use="configuration, firewall.ports", ports=[port], sources=[str(one) for one in networks])
        for port, networks in sorted(env.firewall.ports.items())
    ]
    return found


def sources(env: Environment, opening: Opening) -> list[str] | None:
    """The addresses and networks that ``opening`` lets in; ``None`` for everyone."""
    wanted, firewall = set(opening.sources), env.firewall
    if Source.EVERYONE in wanted or (Source.OPERATORS in wanted and not firewall.operators):
        return None
    return [
        *(str(one.address) for one in env.present if Source.SERVERS in wanted or one.roles & wanted),
        *([str(env.networks.pods)] if Source.PODS in wanted else []),
        *(map(str, firewall.clients) if Source.CLIENTS in wanted else []),
        *(map(str, firewall.operators) if Source.OPERATORS in wanted else []),
    ]


def _range(env: Environment, port: int | Range | Setting) -> Range:
    if isinstance(port, Range):
        return port
    number = env.number(port) if isinstance(port, Setting) else port
    return Range(number, number)


def _numbers(ports: Iterable[Range]) -> list[int | str]:
    """Ports as nftables has them, in order."""
    return [one.first if one.first == one.last else f"{one.first}-{one.last}" for one in sorted(ports)]


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
