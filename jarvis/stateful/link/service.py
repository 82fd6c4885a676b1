"""What a link leads to, and HAProxy's configuration for it, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jarvis.config import Environment, ServerRole

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9/_.-]*")


@dataclass(frozen=True, kw_only=True)
class LinkMember:
    """``name`` of the server, ``address``: where the service listens there."""

    name: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a proxy asks a member whether it is healthy, each second: see ``tcp``, ``tls`` and ``http``.

    ``lines``: of the backend. ``options``: of each of its servers.
    """

    lines: Sequence[str] = ()
    options: str = ""


def tcp() -> Check:
    """A member is healthy when it accepts a connection."""
    return Check()


def tls() -> Check:
    """A member is healthy when it answers a TLS handshake. Whose certificate it has is its clients' matter:
    they connect through the proxy and check it."""
    return Check(options="check-ssl verify none")


def http(port: int, path: str = "/") -> Check:
    """A member is healthy when a GET of ``path`` at ``port`` of its address is answered with 200.

    Raises ``ValueError`` for a path of another form.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is not a path of letters, digits and /_.-")
    return Check(
        lines=(
            "option httpchk",
            f"http-check send meth GET uri {path} ver HTTP/1.1 hdr host localhost",
            "http-check expect status 200",
        ),
        options=f"port {port}",
    )


@dataclass(frozen=True, kw_only=True)
class LinkedService:
    """A service of the servers that clients know by one name and one port wherever they are.

    - ``name``: the first part of its names. ``port``: of the name, everywhere.
    - ``members``, ``member_port``: where it really listens. ``check``: how a member's health is seen.
    - ``one_writer``: all clients of all servers are led to the same member, the first healthy one in the
      order of ``members``; otherwise they are spread over the healthy ones.

    Raises ``ValueError`` for a name of another form, without a member, and for a member port that is the
    proxy's own.
    """

    name: str
    port: int
    members: Sequence[LinkMember]
    member_port: int
    check: Check
    one_writer: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the name of a link: lower-case letters, digits and -")
        if not self.members:
            raise ValueError(f"the link {self.name} has no member")
        if self.member_port == self.port:
            raise ValueError(
                f"the link {self.name}: port {self.port} is the proxy's and cannot be a member's"
            )


def members(env: Environment, role: ServerRole) -> list[LinkMember]:
    """The servers of ``env`` that have ``role``, as members at their addresses."""
    return [LinkMember(name=one.name, address=str(one.address)) for one in env.with_role(role)]


def names(env: Environment, service: str) -> list[str]:
    """The DNS names of the linked ``service``, which its members' certificates hold: of the environment,
    which everyone knows, and of the cluster's Service."""
    return [f"{service}.{env.networks.domain}", cluster_name(env, service)]


def cluster_name(env: Environment, service: str) -> str:
    """The name that the cluster's own DNS gives to the Service of a link."""
    return f"{service}.{env.openstack.namespace}.svc.{env.networks.cluster_domain}"


def fragment(service: LinkedService) -> str:
    """HAProxy's frontend and backend for ``service``.

    With one writer the others are backups, and wherever the writer goes, everyone goes at once: sessions on a
    member that was marked down, or on a backup once the first member is up again, are ended.
    """
    lines = [f"frontend {service.name}", f"  bind :{service.port}", f"  default_backend {service.name}", ""]
    lines += [f"backend {service.name}", "  balance leastconn"]
    lines += [f"  {line}" for line in service.check.lines]
    for at, member in enumerate(service.members):
        words = [f"server {member.name} {member.address}:{service.member_port} check"]
        words += [service.check.options] if service.check.options else []
        words += ["on-marked-down shutdown-sessions"]
        if service.one_writer:
            words += ["backup" if at else "on-marked-up shutdown-backup-sessions"]
        lines.append("  " + " ".join(words))
    return "\n".join(lines) + "\n"
