"""The HTTP gateway: one name and one certificate for each service, before its pods."""

from jarvis.gateway.haproxy import Route, haproxy_config
from jarvis.gateway.http import HttpGateway, HttpGatewayArgs, in_cluster_names

__all__ = ["HttpGateway", "HttpGatewayArgs", "Route", "haproxy_config", "in_cluster_names"]
