"""Every port that speaks TLS: which versions and ciphers it takes, as openssl on the servers sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.audits.finding import Finding
from tests.lab.deployment import Cloud


@dataclass(frozen=True)
class Port:
    """``use``: what serves ``port``; ``local``: on 127.0.0.1 alone; ``inside``: under that name of the
    cluster alone; ``starttls``: what comes before TLS."""

    use: str
    port: int
    local: bool = False
    inside: str | None = None
    starttls: str | None = None

    def address(self, server: str) -> str:
        return self.inside or ("127.0.0.1" if self.local else server)


PORTS = (
    Port("gateway", 443),
    Port("etcd, clients", 2379),
    Port("etcd, members", 2380),
    Port("MariaDB", 3307, starttls="mysql"),
    Port("MariaDB, members' agents", 3309),
    Port("Galera", 4567),
    Port("registry", 5000),
    Port("RabbitMQ", 5673),
    Port("Kubernetes API", 6443),
    Port("kubelet", 10250),
    Port("controller manager", 10257, local=True),
    Port("scheduler", 10259, local=True),
    Port("memcached", 11211, inside="gateway.gateway.svc.cluster.local"),
    Port("RabbitMQ, members", 25672),
)
# Whether a server says hello to it; the words are openssl's.
ATTEMPTS = {
    "TLS 1.0": "-tls1 -cipher ALL:@SECLEVEL=0",
    "TLS 1.1": "-tls1_1 -cipher ALL:@SECLEVEL=0",
    "TLS 1.2 without forward secrecy or authenticated encryption": (
        "-tls1_2 -cipher ALL:!AESGCM:!CHACHA20:!AESCCM:kRSA:@SECLEVEL=0"
    ),
    "TLS 1.2": "-tls1_2",
    "TLS 1.3": "-tls1_3",
}
GOOD = {"TLS 1.2", "TLS 1.3"}


def script(server: str) -> str:
    """What is run on ``server``: a line "PORT<tab>ATTEMPT" for each hello, or "open"."""
    lines = []
    for port in PORTS:
        target = f"{port.address(server)}:{port.port}"
        opened = f"exec 3<>/dev/tcp/{target.replace(':', '/')}"
        lines.append(f"timeout 3 bash -c '{opened}' 2>/dev/null && printf '{port.port}\\topen\\n'")
        starttls = f"-starttls {port.starttls} " if port.starttls else ""
        for name, words in ATTEMPTS.items():
            lines.append(
                f"timeout 5 openssl s_client -msg -connect {target} {starttls}{words} </dev/null 2>/dev/null"
                f" | grep -q '^<<< .*ServerHello' && printf '{port.port}\\t{name}\\n'"
            )
    return "\n".join([*lines, "true"])


def hellos(cloud: Cloud, server: str) -> dict[int, set[str]]:
    """By open port of ``server``: the attempts that were answered by a hello."""
    found: dict[int, set[str]] = {}
    for line in cloud.ssh(server, script(server)).splitlines():
        port, attempt = line.split("\t")
        found.setdefault(int(port), set()).add(attempt)
    return {port: attempts - {"open"} for port, attempts in found.items()}


def findings(cloud: Cloud) -> Iterator[Finding]:
    """What is taken that should not be, on every server."""
    uses = {port.port: port.use for port in PORTS}
    for server in cloud.servers:
        for port, attempts in hellos(cloud, server).items():
            for attempt in sorted(attempts - GOOD):
                yield Finding("openssl", f"{uses[port]}, port {port}", f"takes {attempt}")
            if not attempts & GOOD:
                yield Finding("openssl", f"{uses[port]}, port {port}", "takes neither TLS 1.2 nor 1.3")
