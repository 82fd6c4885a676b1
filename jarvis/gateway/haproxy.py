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

# More places than any service has pods, twice over for an update: the number of pods is DNS's to say, and
# no part of the configuration. 64 is the most replicas that a service may have (jarvis.config.openstack).
PLACES = 128
# Seconds for which a gateway that is to stop serves on, so that the virtual address can move away.
PAUSE = 8
# Seconds after that for requests under way.
DRAIN = 60
# Where kubelet asks a gateway whether it is well, inside the cluster.
INTERNAL_PORT = 8404
# Seconds after which a client may ask again where a service has no pod, or none that has a place for it. A
# pod that was replaced is found within three (`hold`, `check` in haproxy.cfg and below).
RETRY_AFTER = 5
# Seconds for which a request waits for a place in a pod, and for a connection to it.
_QUEUE, _CONNECT = 20, 2
# What the gateway answers by itself. HAProxy 2.6 knows these statuses (its manual, "http-error").
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
# The id of the request as it came, or was given to it; and the one of what never became a request.
_ID, _EARLY_ID = "%[var(txn.id)]", "%ID"

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_HOST = re.compile(r"[a-z0-9.-]+")
_PATH = re.compile(r"/[A-Za-z0-9._/-]*")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A service inside the cluster to which other pods come by the gateway of their node, as TCP: it knows at
    once that a pod is gone, and takes another, where a client would wait at each connection of its own.

    - ``name``: of the proxy. ``port``: of the gateway, inside the cluster alone.
    - ``services``: the Services with one pod each, as ``<name>.<namespace>``; they are headless and their
      port is called ``tcp``. All gateways take the first that answers, in this order.

    Raises ``ValueError`` for a field of another form.
    """

    name: str
    port: int
    services: Sequence[str]

    def __post_init__(self) -> None:
        services = (("service", each, _HOST) for each in self.services)
        for what, value, form in (("name", self.name, _NAME), *services):
            if not form.fullmatch(value):
                raise ValueError(f"the passage {self.name!r}: {value!r} is not a {what}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """A service behind the gateway.

    - ``name``: of the backend. ``host``: the DNS name that clients ask for.
    - ``service``: the Service whose pods serve it, as ``<name>.<namespace>``; it is headless and its port is
      called ``http``.
    - ``health``: the path that a pod in order answers with 200.
    - ``requests``: how many a pod takes at once; more wait in the gateway. ``patience``: seconds without a
      byte of an answer after which the gateway gives up.
    - ``whole``: a request goes to a pod once its body is there, or 16 KiB of it. A pod that takes one request
      at a time is held by no client that sends slowly. Not for a service that takes streams.
    - ``self_links``: the only paths at which the service is told of the prefix that it is found under, since
      it has links to itself there; all where there is none. Glance sends requests on to other pods by the
      path it was told, and pods have no prefix.

    Raises ``ValueError`` for a field of another form.
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
        """The path below which the service is found under the gateway's bare address, such as /identity."""
        return "/" + self.host.partition(".")[0]


def haproxy_config(
    *,
    routes: Sequence[Route],
    cluster_domain: str,
    cluster_dns: IPv4Address,
    addresses: Sequence[IPv4Address],
    node_addresses: Sequence[IPv4Address],
    passages: Sequence[Passage] = (),
) -> str:
    """The whole configuration.

    ``addresses`` are the gateway's own, one but while it changes: for clients that have no DNS for the
    services' names, each service is there too, below its ``prefix``.
    ``node_addresses`` are those from which each server's kubelet calls a pod of its own; only they may order
    a drain.

    Raises ``ValueError`` when two routes have one name or one host, or two passages one name or one port.
    """
    for what, field, given in (
        ("routes", "name", [route.name for route in routes]),
        ("routes", "host", [route.host for route in routes]),
        ("passages", "name", [passage.name for passage in passages]),
        ("passages", "port", [str(passage.port) for passage in passages]),
    ):
        twice = sorted({value for value in given if given.count(value) > 1})
        if twice:
            raise ValueError(f"several {what} of the gateway have the {field} {', '.join(twice)}")
    own = " ".join(map(str, addresses))
    # One second more than the most patient backend, with what precedes the wait for its answer.
    patience = max((route.patience for route in routes), default=0) + _QUEUE + 4 * _CONNECT + 1
    chosen = "\n".join(
        f"    use_backend {route.name} if {{ var(txn.host) -m str {route.host} }}"
        f" or by_address {{ var(txn.path) -m reg ^{route.prefix}(/|$) }}"
        for route in routes
    )
    backends = [_backend(route, cluster_domain, own) for route in routes]
    backends += [_passage(passage, cluster_domain) for passage in passages]
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
    """The body of an answer of the gateway's own, in the form of Keystone's errors, which clients of
    OpenStack know. ``request_id``: HAProxy's expression for it."""
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


def _passage(passage: Passage, cluster_domain: str) -> str:
    ways = "".join(
        f"\n    server-template {passage.name}-{at}- 2 _tcp._tcp.{service}.svc.{cluster_domain}"
        f" {'backup' if at else 'on-marked-up shutdown-backup-sessions'}"
        for at, service in enumerate(passage.services)
    )
    return f"""
listen {passage.name}
    bind :{passage.port}
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
