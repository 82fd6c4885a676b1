"""Linked services, and HAProxy's configuration for them, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jarvis.config import Environment, ServerRole

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9/_.-]*")


@dataclass(frozen=True, kw_only=True)
class LinkMember:
    """A server that a linked service listens on.

    Attributes:
        name: name of the server.
        address: IP address that it listens on.
    """

    name: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """A health check of members, each second: see ``tcp``, ``tls`` and ``http``.

    Attributes:
        lines: lines for HAProxy's backend.
        options: options for each of its servers.
    """

    lines: Sequence[str] = ()
    options: str = ""


def tcp() -> Check:
    """A check by connection: a healthy member accepts one."""
    return Check()


def tls() -> Check:
    """A check by TLS handshake: a healthy member completes one.

    The certificate is not verified: clients connect through the proxy and verify it themselves.
    """
    return Check(options="check-ssl verify none")


def http(port: int, path: str = "/") -> Check:
    """A check by HTTP: a healthy member answers a GET with 200.

    Args:
        port: port at the member's address.
        path: path to get.

    Raises:
        ValueError: the path has another form.
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
    """A service of the servers that clients reach by one name and port, wherever they are.

    Attributes:
        name: first part of its names.
        port: port of the proxies.
        members: servers that it listens on.
        member_port: port of the members.
        check: health check of members.
        one_writer: lead all clients to the same member, the first healthy one in the order of ``members``.
            Otherwise they are spread over the healthy members.

    Raises:
        ValueError: the name has another form, there is no member, or the members' port is the proxies'.
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
    """The servers of ``env`` with ``role``, as members of a linked service."""
    return [LinkMember(name=one.name, address=str(one.address)) for one in env.with_role(role)]


def names(env: Environment, service: str) -> list[str]:
    """DNS names of the linked ``service``, for its members' certificates.

    They are the name in the environment's domain, for everyone, and the name of the cluster's Service.
    """
    return [f"{service}.{env.networks.domain}", cluster_name(env, service)]


def cluster_name(env: Environment, service: str) -> str:
    """The name in the cluster's domain of the Service of a link."""
    return f"{service}.{env.openstack.namespace}.svc.{env.networks.cluster_domain}"


def fragment(service: LinkedService) -> str:
    """HAProxy's frontend and backend for ``service``.

    With one writer the other members are backups. When the writer changes all clients change at once:
    sessions end on a member that is marked down, and on backups once the first member is up again.
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
