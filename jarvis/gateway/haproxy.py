"""HAProxy's configuration for the gateway, as pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address

from jarvis.core.text import fill_beside
from jarvis.core.tls import OPENSSL_CIPHERS

# Slots for pods in each backend. The number of pods is DNS's to say, not the configuration's, so there are
# twice as many slots as replicas that a service may have, 64 (jarvis.config.openstack): an update doubles
# them.
PLACES = 128
# Seconds that a stopping gateway keeps accepting requests, so that the virtual address can move away.
PAUSE = 8
# Seconds after that for in-flight requests.
DRAIN = 60
# Port of the probes, inside the cluster.
INTERNAL_PORT = 8404
# Seconds of Retry-After, where a service has no pod or none with a free slot. A replaced pod is found within
# three (`hold`, `check` in haproxy.cfg and below).
RETRY_AFTER = 5
# Seconds that a request waits for a slot in a pod, and for a connection to it.
_QUEUE, _CONNECT = 20, 2
# Error responses of the gateway itself, for the statuses that HAProxy 2.6 knows (its manual, "http-error").
_ERRORS = {
    HTTPStatus.BAD_REQUEST: "The request is not HTTP that the gateway understands.",
    HTTPStatus.FORBIDDEN: "The gateway does not let this request pass.",
    HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The request is too large.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed.",
    HTTPStatus.NOT_IMPLEMENTED: "The gateway cannot do what the request asks for.",
    HTTPStatus.BAD_GATEWAY: "The service ended before it had answered. The request may have been done.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service has no place for the request at the moment. Try again.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service did not answer in time. The request may have been done.",
}
# HAProxy's expressions for the id of a request, given or generated, and of what never became a request.
_ID, _EARLY_ID = "%[var(txn.id)]", "%ID"

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_HOST = re.compile(r"[a-z0-9.-]+")
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")


@dataclass(frozen=True, kw_only=True)
class TcpRoute:
    """A TCP route for pods, through the gateway of their node, to one of several pods.

    The gateway notices at once that a pod is gone and takes another. A client by itself would wait for a
    timeout in each of its connections.

    Attributes:
        name: name of the proxy.
        port: TCP port of the gateway, open inside the cluster only.
        services: headless Services of one pod each, as ``<name>.<namespace>``, with a port called ``tcp``.
            All gateways use the first that answers, in this order.

    Raises:
        ValueError: a field has another form.
    """

    name: str
    port: int
    services: Sequence[str]

    def __post_init__(self) -> None:
        services = (("service", each, _HOST) for each in self.services)
        for what, value, form in (("name", self.name, _NAME), *services):
            if not form.fullmatch(value):
                raise ValueError(f"the TCP route {self.name!r}: {value!r} is not a {what}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """An HTTP service behind the gateway.

    Attributes:
        name: name of the backend.
        host: DNS name that clients ask for.
        service: headless Service of its pods, as ``<name>.<namespace>``, with a port called ``http``.
        health: path that a healthy pod answers with 200.
        requests: most in-flight requests of one pod; more wait in the gateway. ``None`` is no limit.
        patience: seconds without a byte of the response after which the gateway gives up.
        whole: buffer a request until its body, or 16 KiB of it, is there. Slow clients then do not occupy a
            pod that takes one request at a time. Not for services that take streams.
        self_links: the only paths at which the service is told the prefix that it is found under, since its
            responses there have links to itself; all paths where there are none. Glance forwards requests to
            other pods by the path that it was told, and pods have no prefix.

    Raises:
        ValueError: a field has another form.
    """

    name: str
    host: str
    service: str
    health: str = "/healthcheck"
    requests: int | None = None
    patience: int = 60
    whole: bool = False
    self_links: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what, value, form in (
            ("name", self.name, _NAME),
            ("host", self.host, _HOST),
            ("service", self.service, _HOST),
            ("health path", self.health, _PATH),
            *(("path", path, _PATH) for path in self.self_links),
        ):
            if not form.fullmatch(value):
                raise ValueError(f"the route {self.name!r}: {value!r} is not a {what}")

    @property
    def prefix(self) -> str:
        """The path of the service under the gateway's bare address, such as /identity."""
        return "/" + self.host.partition(".")[0]


def haproxy_config(
    *,
    routes: Sequence[Route],
    cluster_domain: str,
    cluster_dns: IPv4Address,
    addresses: Sequence[IPv4Address],
    node_addresses: Sequence[IPv4Address],
    tcp_routes: Sequence[TcpRoute] = (),
) -> str:
    """The configuration file.

    Args:
        routes: the HTTP services.
        cluster_domain: domain of the cluster's own names.
        cluster_dns: address of the cluster's DNS.
        addresses: the gateway's own addresses: one, or two during a change. Each service is there too, below
            its ``prefix``, for clients without DNS.
        node_addresses: addresses from which kubelets call pods of their own server. Only these may order a
            drain.
        tcp_routes: the TCP routes.

    Raises:
        ValueError: two routes share a name or a host, or two TCP routes a name or a port.
    """
    for what, field, given in (
        ("routes", "name", [route.name for route in routes]),
        ("routes", "host", [route.host for route in routes]),
        ("TCP routes", "name", [route.name for route in tcp_routes]),
        ("TCP routes", "port", [str(route.port) for route in tcp_routes]),
    ):
        twice = sorted({value for value in given if given.count(value) > 1})
        if twice:
            raise ValueError(f"several {what} of the gateway have the {field} {', '.join(twice)}")
    own = " ".join(map(str, addresses))
    # One second more than the most patient backend takes, connection and queue included.
    patience = max((route.patience for route in routes), default=0) + _QUEUE + 4 * _CONNECT + 1
    chosen = "\n".join(
        f"    use_backend {route.name} if {{ var(txn.host) -m str {route.host} }}"
        f" or by_address {{ var(txn.path) -m reg ^{route.prefix}(/|$) }}"
        for route in routes
    )
    backends = [_backend(route, cluster_domain, own) for route in routes]
    backends += [_tcp_route(route, cluster_domain) for route in tcp_routes]
    # The template's first line has a path of before: another text would roll all gateways for a comment.
    return fill_beside(
        __file__,
        "haproxy.cfg",
        lines={
            "errors": _errors(_ID),
            "early": _errors(_EARLY_ID),
            "routes": chosen,
            "backends": "".join(backends),
        },
        ciphers=OPENSSL_CIPHERS,
        dns=str(cluster_dns),
        address=own,
        nodes=" ".join(str(address) for address in node_addresses),
        nobody=_error(HTTPStatus.NOT_FOUND, "No service has this name.", _ID),
        queue=str(_QUEUE),
        connect=str(_CONNECT),
        patience=str(patience),
        pause=str(PAUSE),
        drain=str(DRAIN),
    )


def _error(status: HTTPStatus, message: str, request_id: str) -> str:
    """Body of an error response of the gateway itself, in the form of Keystone's errors.

    Args:
        status: HTTP status.
        message: text for a person.
        request_id: HAProxy's expression for the request's id.
    """
    told = {"code": int(status), "title": status.phrase, "message": message, "request_id": request_id}
    return json.dumps({"error": told})


def _errors(request_id: str) -> str:
    return "\n".join(
        f"    http-error status {int(status)} content-type application/json"
        f" lf-string '{_error(status, message, request_id)}'"
        + (f" hdr Retry-After {RETRY_AFTER}" if status is HTTPStatus.SERVICE_UNAVAILABLE else "")
        for status, message in _ERRORS.items()
    )


def _backend(route: Route, cluster_domain: str, addresses: str) -> str:
    links = f" {{ path {' '.join(route.self_links)} }}" if route.self_links else ""
    most = f"\n    default-server maxconn {route.requests}" if route.requests else ""
    whole = "\n    option http-buffer-request" if route.whole else ""
    return f"""
backend {route.name}
    balance leastconn{whole}
    timeout server {route.patience}s
    option httpchk
    http-check send meth GET uri {route.health} ver HTTP/1.1 hdr Host {route.host}
    http-check expect status 200
    # Under the gateway's bare address; the service heeds the prefix in the links that it answers with.
    acl by_prefix var(txn.host) -m str {addresses}
    http-request replace-path {route.prefix}/?(.*) /\\1 if by_prefix
    http-request set-header X-Forwarded-Prefix {route.prefix} if by_prefix{links}
    # A busy pod answers its check late: three late ones in a row, and not one, take it out.
    default-server check inter 2s fastinter 500ms downinter 500ms fall 3 rise 1 init-addr none
    default-server resolvers cluster resolve-prefer ipv4 resolve-opts allow-dup-ip{most}
    server-template {route.name}- {PLACES} _http._tcp.{route.service}.svc.{cluster_domain}
"""


def _tcp_route(route: TcpRoute, cluster_domain: str) -> str:
    ways = "".join(
        f"\n    server-template {route.name}-{at}- 2 _tcp._tcp.{service}.svc.{cluster_domain}"
        f" {'backup' if at else 'on-marked-up shutdown-backup-sessions'}"
        for at, service in enumerate(route.services)
    )
    return f"""
listen {route.name}
    bind :{route.port}
    mode tcp
    # Connections are many and say nothing.
    no log
    timeout connect 500ms
    timeout client 1h
    timeout server 1h
    retries 0
    # The pod is there, and this gateway does not drain: one that does lets go, since these connections have
    # no end of their own.
    option tcp-check
    tcp-check connect
    tcp-check connect addr 127.0.0.1 port {INTERNAL_PORT}
    tcp-check send "GET /ready HTTP/1.0\\r\\n\\r\\n"
    tcp-check expect rstring "^HTTP/1.. 200"
    # What was sent and is not heard of for a second, or one connection that is not answered, is proof that
    # the pod is gone: all connections to it end, and new ones go to the next, until it answers again.
    default-server check inter 5s downinter 1s fall 1 rise 1 tcp-ut 1s
    default-server observe layer4 error-limit 1 on-error mark-down on-marked-down shutdown-sessions
    default-server resolvers cluster resolve-prefer ipv4 init-addr none{ways}
"""
