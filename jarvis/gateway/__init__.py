"""The HTTP gateway: one name and one certificate for each service, in front of its pods."""

from jarvis.gateway.haproxy import Route, TcpRoute, haproxy_config
from jarvis.gateway.http import HttpGateway, HttpGatewayArgs, gateway_host, in_cluster_names

__all__ = [
    "HttpGateway",
    "HttpGatewayArgs",
    "Route",
    "TcpRoute",
    "gateway_host",
    "haproxy_config",
    "in_cluster_names",
]
